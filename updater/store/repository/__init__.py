"""What is registered in Feast: the feature store's config, its objects, its registry, and opening it."""
