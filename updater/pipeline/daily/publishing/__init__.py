"""How a window's values become visible: staged files, the head of a bucket, the online store."""
