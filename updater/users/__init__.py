"""Users as a model sees them: their buffered events and summaries as batches of arrays."""
