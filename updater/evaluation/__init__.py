"""How much the embeddings know: label tasks out of the event lake, baselines, probes and metrics.

`evaluate` puts them together; `labels` is also what prompt tuning reads its answers through.
"""
