"""The page about a deployment: what an operator looks at in the morning."""
