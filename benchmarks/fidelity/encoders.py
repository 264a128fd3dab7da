"""Sequence encoders in several sizes on the Complete Journey data: `python -m benchmarks.fidelity.encoders`.

Pre-trains each on the log of configs/quality.toml, which `python -m benchmarks.quality` lands and encodes, and prints
how often held-out users' next item is among the ten that it expects, beside what is simpler. `sweep` gives the vectors
to the fidelity benchmark.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from updater.encoders.config import ENCODERS, Architecture, EncoderConfig, Pretraining
from updater.encoders.log import Log
from updater.encoders.recall import newest_recall, popularity_recall
from updater.evaluation.systems.encoders import Encoded, measured_log, pretrain_encoders
from updater.evaluation.systems.vectors import UserVectors
from updater.labels.split import is_held_out
from updater.lake import partitions
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import Progress, WritableContext, no_progress, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

CONFIG = Path(__file__).parents[2] / "configs" / "quality.toml"
WIDTHS = 32, 64, 128
ALL = "ids, side and text"
INPUTS = {"ids": (False, False), "ids and side": (True, False), ALL: (True, True)}
"""What an event is: with side information or without, with its text or without."""


def sweep(
    pool: ProcessPool,
    log: Log,
    anchors: Sequence[date],
    *,
    architectures: Sequence[Architecture] = ENCODERS,
    widths: Sequence[int] = WIDTHS,
    inputs: Sequence[str] = (ALL,),
    options: Pretraining | None = None,
    progress: Progress = no_progress,
) -> dict[str, Encoded]:
    """Pre-train each architecture in each width with each of the inputs, and embed all users at `anchors`.

    Args:
        pool: as many are pre-trained at a time as it has processes.
        log: one that has these anchors (`updater.evaluation.systems.encoders.measured_log`).
        anchors: days at which users are embedded.
        architectures: which encoders.
        widths: numbers of a user's vector.
        inputs: names of INPUTS.
        options: budget and numbers of pre-training.
        progress: called as work is done.

    Returns:
        Vectors by names such as `hstu 64, ids and side`.
    """
    configs = sizes(architectures, widths, inputs)
    found = pretrain_encoders(pool, log, list(configs.values()), options or Pretraining(), anchors, progress)
    return dict(zip(configs, found, strict=True))


def sizes(
    architectures: Sequence[Architecture], widths: Sequence[int], inputs: Sequence[str] = (ALL,)
) -> dict[str, EncoderConfig]:
    """Configs by names such as `hstu 64, ids and side`."""
    return {
        f"{architecture} {width}, {read}": EncoderConfig(
            architecture=architecture, width=width, side=INPUTS[read][0], text=INPUTS[read][1]
        )
        for architecture in architectures
        for width in widths
        for read in inputs
    }


def kept_vectors(
    context: WritableContext,
    pool: ProcessPool,
    configs: Mapping[str, EncoderConfig],
    anchor: date,
    options: Pretraining,
    directory: Path,
    progress: Progress = no_progress,
) -> tuple[dict[str, UserVectors], dict[str, Any]]:
    """The vectors of pre-trained encoders at an anchor, and how each came to them. One that was made before is read
    from `directory`, so a run that was cut short goes on with the next encoder.
    """
    vectors, rows, log = {}, {}, None
    for name, config in configs.items():
        key = sha256(json.dumps([asdict(config), asdict(options), str(anchor)]).encode()).hexdigest()[:12]
        file = directory / f"{key}.npz"
        if not file.exists():
            log = log or measured_log(context, pool, [anchor], progress).log
            (encoded,) = pretrain_encoders(pool, log, [config], options, [anchor], progress)
            made = encoded.vectors[anchor]
            with partitions.write_file(str(file)) as out:
                np.savez(out, users=made.users, values=made.values, about=json.dumps(row(encoded)))
        with np.load(file) as found:
            vectors[name] = UserVectors(found["users"], found["values"])
            rows[name] = json.loads(str(found["about"]))
    return vectors, rows


def row(encoded: Encoded) -> dict[str, Any]:
    """All but the vectors."""
    values = {name: value for name, value in vars(encoded).items() if name not in ("config", "vectors")}
    return {name: round(value, 4) for name, value in values.items()} | asdict(encoded.config)


def simple_recalls(log: Log, anchor: date) -> dict[str, float]:
    """Recall@10 of the held-out users without an encoder."""
    sequences, most = log.at[anchor], EncoderConfig(architecture="sasrec").max_events
    users = np.flatnonzero(is_held_out(sequences.users.tolist()))
    return {
        "popularity": popularity_recall(sequences, users, most),
        "ten newest items": newest_recall(sequences, users, most),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity.encoders", description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--inputs", nargs="+", default=[ALL], choices=list(INPUTS))
    parser.add_argument("--steps", type=int, default=Pretraining().steps)
    parser.add_argument("--seed", type=int, default=Pretraining().seed)
    given = parser.parse_args()
    settings = load_settings(CONFIG)
    create_ledger(settings)
    context = open_writable(settings)
    anchor = settings.evaluation.test[0]
    begin, last = time.perf_counter(), [-math.inf]

    def progress(label: str, done: int, total: int) -> None:
        now = time.perf_counter() - begin
        if now - last[0] > 20:
            last[0] = now
            print(f"{now:6.0f} s  {label} {done}/{total}", file=sys.stderr, flush=True)

    with ProcessPool(settings, context.now) as pool:
        measured = measured_log(context, pool, [anchor], progress)
        log, read = measured.log, time.perf_counter()
        shown = log.at[anchor]
        about = {
            "read_s": round(read - begin, 1),
            "cpu_ms_per_user": round(measured.cpu_ms, 3),
            "trained at": [str(day) for day in log.train],
            "users": len(shown.users),
            "events": len(shown.items_N),
            "items": log.sizes.items,
            "events of named items": round(float((shown.items_N > 1).mean()), 4),
            **simple_recalls(log, anchor),
        }
        print(json.dumps(about), flush=True)
        chosen = {"architectures": given.encoders, "widths": given.widths, "inputs": given.inputs}
        options = Pretraining(steps=given.steps, seed=given.seed)
        for name, encoded in sweep(pool, log, [anchor], **chosen, options=options, progress=progress).items():
            print(json.dumps({"name": name, **row(encoded)}), flush=True)
    print(f"{time.perf_counter() - read:.0f} s after reading", flush=True)


if __name__ == "__main__":
    main()
