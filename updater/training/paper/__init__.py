"""The paper's own pre-training: pairs, two losses, retrieval."""
