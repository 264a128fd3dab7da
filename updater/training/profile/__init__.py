"""Training of a language model that keeps textual profiles: texts from the log, then two phases."""
