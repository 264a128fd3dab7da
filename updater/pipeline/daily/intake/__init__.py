"""What comes into a window: whether it may run, its landed days, and the vectors of new texts."""
