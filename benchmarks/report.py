"""The results as results.json, a list of rows, and as results.md."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Result = Mapping[str, Any]
"""A row with the section it belongs to, and the commit and the machine that it was measured with."""


INTRODUCTION = """\
Made by `make bench`, or `python -m benchmarks SECTION` for some sections alone. A ratio is to a reference that was
measured in the same run: the median of repeats in turns, then the smallest and the largest of them. A target is checked
by the median. `python -m benchmarks.profile` draws a flame graph of a daily window."""


def about() -> dict[str, str]:
    """The commit and the machine."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=HERE, check=False).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"
    return {"commit": commit, "machine": f"{machine}; Python {platform.python_version()}, torch {version('torch')}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def read(directory: Path) -> list[dict[str, Any]]:
    """Earlier results; none if there are no readable ones."""
    try:
        found = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def write(directory: Path, results: Sequence[Result]) -> None:
    """Both files, each replaced whole."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"results.json": json.dumps(results, indent=2) + "\n", "results.md": as_markdown(results)}
    for name, text in texts.items():
        temporary = directory / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(directory / name)


def summary(results: Sequence[Result]) -> str:
    """How many targets are met; what failed is named."""
    evaluated = [row for row in results if row["met"] is not None]
    failures = [row["name"] for row in evaluated if row["ratio"] is None]
    text = f"{sum(row['met'] for row in evaluated)} of {len(evaluated)} targets met"
    return f"{text}; failed: {', '.join(failures)}" if failures else text


def line(row: Result) -> str:
    """A row for a terminal."""
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    met = {True: "yes", False: "NO", None: ""}[row["met"]]
    return f"{ratio:>9}  {row['target']:8} {met:4} {row['name']}" + (f"\n{'':25}{row['note']}" if row["note"] else "")


def as_markdown(results: Sequence[Result]) -> str:
    """The results as a page."""
    lines = ["# Benchmarks", "", INTRODUCTION]
    for section in dict.fromkeys(row["section"] for row in results):
        rows = [row for row in results if row["section"] == section]
        where = "; ".join(dict.fromkeys(f"commit {row['commit']}, {row['machine']}" for row in rows))
        lines += ["", f"## {section}", "", f"At {where}.", "", "| what | ratio | spread | target | met |"]
        lines += ["|---|---:|---|---|---|", *map(_table_line, rows), ""]
        lines += [f"- {row['name']}: {row['note']}" for row in rows if row["note"]]
    return "\n".join([*lines, "", f"{summary(results)}.", ""])


def _table_line(row: Result) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row["met"]]
    spread = " to ".join(f"{value:g}" for value in row["spread"]) if row["spread"] else ""
    ratio = "" if row["ratio"] is None else f"{row['ratio']:g}"
    return f"| {row['name']} | {ratio} | {spread} | {row['target']} | {met} |"
