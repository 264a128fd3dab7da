"""One window: detect, encode, refresh, publish, materialise, commit. Each step is idempotent and can be run alone."""
