"""A deployment of the local config in a directory of its own."""

import json
from datetime import date
from pathlib import Path

from updater.settings import Settings, load_settings

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "local.toml"
FIRST_DAY = date(2025, 1, 1)


def local_settings(root: Path, processes: int = 1, backbone: str = '"tiny"') -> Settings:
    """The local config with everything below `root`; with one process, CPU seconds are this process's.

    `backbone` is TOML: the value of `model.backbone`, and further keys of `[model]` on lines of their own.
    """
    text = CONFIG.read_text(encoding="utf-8").replace('backbone = "tiny"', f"backbone = {backbone}")
    repo = json.dumps(str(CONFIG.parents[1] / "feature_repo"))
    text = text.replace('"../feature_repo"', repo).replace("../", "")
    root.mkdir(parents=True)
    target = root / "updater.toml"
    target.write_text(f"{text}\n[run]\nprocesses = {processes}\n", encoding="utf-8")
    return load_settings(target, environ={})
