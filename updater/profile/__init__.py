"""The textual profile: a user's buffered events in, a short text out that any language model can read. Pure."""
