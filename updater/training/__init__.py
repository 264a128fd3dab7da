"""Building blocks of learning: losses and the training data. No command uses them yet."""
