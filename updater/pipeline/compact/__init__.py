"""Maintenance: merges the state's files and removes what nobody reads."""
