"""Soft prompts on a frozen model."""
