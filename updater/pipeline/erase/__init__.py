"""Users leave every file and every store, and a search proves it."""
