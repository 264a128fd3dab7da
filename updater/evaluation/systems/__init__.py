"""What is compared in an evaluation: the product's embeddings, counts, control models, encoders, external vectors."""
