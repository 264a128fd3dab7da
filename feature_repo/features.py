"""Feast's definitions of the demo, or of the config that UPDATER_CONFIG names."""

from pathlib import Path

from updater.store.repository.features import feature_objects

# Feast registers what it finds among a module's globals.
globals().update(feature_objects(Path(__file__).resolve().parents[1] / "configs" / "demo.toml"))
