"""What the commands do. Each step is idempotent and can be run alone."""
