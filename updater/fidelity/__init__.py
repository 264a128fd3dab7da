"""What can be read back from an embedding: questions about a user's log, who answers them, and how well."""
