"""A frozen causal language model as reader: it answers from a soft token made of a user's vector, or from events."""
