"""How much the embeddings know: label tasks out of the event lake, baselines, probes and metrics.

These are building blocks; no command of the command line runs them yet.
"""
