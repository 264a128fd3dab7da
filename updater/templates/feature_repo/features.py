"""Feast's definitions of @NAME@: made from ../updater.toml; objects of your own may stand beside them."""

from pathlib import Path

from updater.store.repository.features import feature_objects

# Feast registers what it finds among a module's globals.
globals().update(feature_objects(Path(__file__).parents[1] / "updater.toml"))
