"""How much of what can be known a system knows: a made-up population whose best possible AUC is known."""
