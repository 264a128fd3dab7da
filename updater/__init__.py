"""Daily-fresh, scenario-adaptive user embeddings in a company's own feature store."""

__version__ = "0.1.0"
