"""The frozen text encoder and the user model: tensors and numpy in, numpy out; no disk except checkpoints."""
