"""Our own storage: event files and the buffer as a query, text vectors, summaries, embeddings, bucket files."""
