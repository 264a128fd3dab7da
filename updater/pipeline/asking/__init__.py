"""What is asked of everybody at once, and why an answer is what it is."""
