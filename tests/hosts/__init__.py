"""Machines of their own on one: each has a network, processes and files that the others cannot reach."""
