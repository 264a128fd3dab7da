"""Label tasks and their answers, out of the events that the pipeline keeps. Training and evaluation rest on it."""
