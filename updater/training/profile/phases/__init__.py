"""The model that is trained, and the two phases of its training through TRL."""
