"""The protocol of UQABench (arXiv 2502.19178) on its own files: pre-train an encoder, align an adapter, answer."""
