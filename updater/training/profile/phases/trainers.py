"""What both phases have in common: how TRL's trainers are set up, watched, stopped and resumed.

A checkpoint of `transformers` is a directory that is written file by file, so a mark is put into it when it is whole,
and one without is removed before training goes on.
"""

import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

from updater.domain.declared.profile_training import ProfileTraining

WHOLE = "whole"
"""Name of the file that marks a checkpoint that was written to its end."""


@dataclass
class Budget:
    """CPU seconds of this process that training may use; without a limit None."""

    max_cpu_seconds: float | None = None
    _began: float = field(default_factory=time.process_time)

    @property
    def is_spent(self) -> bool:
        """True once they are used up."""
        return self.max_cpu_seconds is not None and time.process_time() - self._began >= self.max_cpu_seconds


class Watch(TrainerCallback):  # type: ignore[misc]
    """Shows progress, keeps what is logged, marks checkpoints, and stops when the budget is spent.

    Args:
        progress: called with a label, the steps done and the steps in all.
        label: what is done.
        budget: when to stop.
    """

    def __init__(self, progress: Callable[[str, int, int], None], label: str, budget: Budget) -> None:
        self._progress, self._label, self._budget = progress, label, budget

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show where training begins."""
        self._progress(self._label, state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Show the step, and stop with a checkpoint if the budget is spent."""
        self._progress(self._label, state.global_step, state.max_steps)
        if self._budget.is_spent:
            control.should_save = control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint that has just been written, unless it is that of the last step.

        A trainer that goes on from its last step takes one more; from the checkpoint before it ends as it did.
        """
        if state.global_step < state.max_steps:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def resume_from(directory: Path) -> str | None:
    """The newest whole checkpoint of a phase; what a kill left of another one is removed."""
    found = []
    for path in directory.glob("checkpoint-*"):
        if (path / WHOLE).is_file():
            found.append((int(path.name.rpartition("-")[2]), str(path)))
        else:
            shutil.rmtree(path)
    return max(found)[1] if found else None


def arguments(options: ProfileTraining, directory: Path, steps: int, device: str) -> dict[str, Any]:
    """Arguments that both of TRL's configs take."""
    return {
        "output_dir": str(directory),
        "max_steps": steps,
        "save_steps": options.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "seed": options.seed,
        "data_seed": options.seed,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": False,
    }


def adapters(options: ProfileTraining) -> Any:
    """peft's config of low-rank adapters on all linear layers; None to train all weights."""
    if not options.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=options.lora_rank,
        lora_alpha=2 * options.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )


@contextmanager
def silent_and_private() -> Iterator[None]:
    """No message of TRL's constructors leaves this machine, and no bar, table or advice goes to the terminal."""
    from datasets.utils.logging import disable_progress_bar
    from huggingface_hub import constants

    was_off, verbosity = constants.HF_HUB_DISABLE_TELEMETRY, logging.get_verbosity()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bar()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # What TRL itself still calls by former names is no business of whoever trains.
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = was_off
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def without_printing(trainer: Any) -> None:
    """Take away the callback that prints each step's numbers; the trainer's state has them."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
