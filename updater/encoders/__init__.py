"""Sequence encoders of the literature, pre-trained by next item prediction, beside the product's own model."""
