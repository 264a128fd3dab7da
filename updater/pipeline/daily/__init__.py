"""One window: detect, encode, refresh, publish, materialize, commit. Each step is idempotent and can be run alone."""
