"""What the embeddings know: training, tuning and evaluation on a year of public data, and the ablations."""
