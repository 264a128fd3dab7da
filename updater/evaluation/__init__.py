"""How much the embeddings know: baselines, probes, metrics and the report. `evaluate` puts them together."""
