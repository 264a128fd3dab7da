"""Training texts: generated, validated and merged from the log."""
