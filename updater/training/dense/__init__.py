"""Dense labels: many yes-or-no questions about the future of every profile, counted from the log."""
