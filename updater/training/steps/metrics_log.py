"""What a training run reports while it goes: JSON lines, TensorBoard, and a callback for progress."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from updater.errors import ConfigError


class MetricsLogger:
    """Appends each step's numbers to `<directory>/metrics.jsonl` and to TensorBoard files beside it."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError if TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise ConfigError("Training needs tensorboard; run: pip install 'updater[train]'.") from None
        directory.mkdir(parents=True, exist_ok=True)
        self._lines = (directory / "metrics.jsonl").open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(directory / "tensorboard"))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """One step's numbers."""
        self._lines.write(
            json.dumps({"step": step, **{name: round(value, 6) for name, value in numbers.items()}}) + "\n"
        )
        self._lines.flush()
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush both."""
        self._lines.close()
        self._board.close()
