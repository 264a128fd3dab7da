"""What can be read back from embeddings, on a public log and on a made-up one."""
