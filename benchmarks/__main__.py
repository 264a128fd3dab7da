"""Run all benchmarks and write results.md and results.json beside this file.

Every row is a ratio to a reference that was measured in the same run; the last line says how many targets are met.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import daily, memory, model, publish

HERE = Path(__file__).parent
USERS_TO_PUBLISH = 50_000


def rows() -> Iterator[dict[str, Any]]:
    """All rows, as they are measured."""
    yield from daily.measure()
    yield from memory.measure()
    for row in model.measure():
        if row["method"] != "packed":
            continue
        yield {
            "name": f"packed scenarios, prefix {row['prefix_tokens']}, over Hugging Face's one pass per query",
            "ratio": round(row["speedup"], 1),
            "target": None,
            "met": None,
            "spread": None,
            "detail": row,
        }
    for row in publish.measure(USERS_TO_PUBLISH):
        yield {
            "name": f"materialise into {row['store']} ({row['run']}), users per CPU-second over stock Feast",
            "ratio": row["ratio"],
            "target": ">= 3",
            "met": row["ratio"] >= 3,
            "spread": None,
            "detail": row,
        }


def main() -> None:
    """Measure, print as it goes, and write the two files."""
    measured = []
    for row in rows():
        measured.append(row)
        print(f"{row['ratio']:>9}  {row['target'] or '':32} {row['name']}", flush=True)
        if note := where_it_goes(row):
            print(f"{'':43}{note}", flush=True)
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=HERE, check=False)
    about = {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "rows": measured,
    }
    (HERE / "results.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (HERE / "results.md").write_text(as_markdown(about), encoding="utf-8")
    judged = [row["met"] for row in measured if row["met"] is not None]
    print(f"{sum(judged)} of {len(judged)} targets met")


def where_it_goes(row: dict[str, Any]) -> str:
    """Wall-clock seconds per step of a window, where a row is about one."""
    steps = row["detail"].get("steps", {})
    return "seconds per step: " + ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items()) if steps else ""


def as_markdown(about: dict[str, Any]) -> str:
    """The results as a page."""
    lines = ["# Benchmarks", "", f"Commit {about['commit']}; {about['machine']}. Made by `make bench`.", ""]
    lines += ["| what | ratio | spread | target | met |", "|---|---|---|---|---|"]
    for row in about["rows"]:
        met = "" if row["met"] is None else "yes" if row["met"] else "**no**"
        spread = " to ".join(str(value) for value in (row["spread"][0], row["spread"][-1])) if row["spread"] else ""
        lines.append(f"| {row['name']} | {row['ratio']} | {spread} | {row['target'] or ''} | {met} |")
    lines += ["", *(f"- {row['name']}: {where_it_goes(row)}" for row in about["rows"] if where_it_goes(row))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
