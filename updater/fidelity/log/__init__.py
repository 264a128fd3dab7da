"""What users had done by an instant, read from event files and laid out as arrays."""
