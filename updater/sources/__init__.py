"""Adapters that land public or made-up data in the lake contract."""
