"""Training of a language model that keeps textual profiles: texts from the log, a supervised phase, one with rewards."""
