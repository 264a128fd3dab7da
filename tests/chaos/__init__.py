"""A randomized campaign: random histories, random faults, and the state that must come of them all the same."""
