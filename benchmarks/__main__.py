"""Run the benchmarks, all or some sections, and write results.md and results.json beside this file.

    python -m benchmarks                       everything
    python -m benchmarks model online          these sections; the rows of the others stay as they are
    python -m benchmarks --smoke --to DIR      at sizes that only show that it runs

Each section runs in a process of its own, one after the other, and what it measured is kept if it fails later. The last
line says how many targets are met; the exit code is 1 if a section failed, not if a target was missed.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks import report
from benchmarks.row import failed

SECTIONS = {
    "model": 1500,
    "daily": 2400,
    "scale": 600,
    "verify": 1500,
    "publish": 300,
    "online": 420,
    "formats": 420,
    "command": 300,
}
"""Seconds after which a section is stopped; on two quiet cores each takes half of that or less."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Measure, print as it goes, and write the two files after each section."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if left out")
    parser.add_argument("--smoke", action="store_true", help="small sizes, whose ratios mean nothing")
    parser.add_argument("--to", type=Path, help="directory for the results (default: beside this file)")
    parser.add_argument("--rows-of", choices=SECTIONS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [name for name in given.sections if name not in SECTIONS]:
        parser.error(f"there is no section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    if given.rows_of:
        return _child(given.rows_of, given.smoke, given.to)
    if given.smoke and given.to is None:
        parser.error("results of --smoke mean nothing; name a directory for them with --to")
    directory = given.to or report.HERE
    chosen = [name for name in SECTIONS if name in given.sections or not given.sections]
    about = report.about()
    results = [row for row in report.read(directory) if row["section"] in SECTIONS and row["section"] not in chosen]
    for section in chosen:
        start = perf_counter()
        for row in _run(section, given.smoke):
            results.append({**row, "section": section, **about})
        results.sort(key=lambda row: list(SECTIONS).index(row["section"]))
        report.write(directory, results)
        print(f"{'':25}[{section} took {perf_counter() - start:.0f} s]", flush=True)
    print(report.summary(results))
    return int(any(row["met"] is False and row["ratio"] is None for row in results))


def _run(section: str, smoke: bool) -> Iterator[dict[str, Any]]:
    """The rows that a section's process wrote, and one more if it failed."""
    with TemporaryDirectory(prefix="updater-bench-") as root:
        file = Path(root, "rows.jsonl")
        file.touch()
        command = [sys.executable, "-m", "benchmarks", "--rows-of", section, "--to", str(file)]
        # A section that is stopped cannot remove its temporary files; with their directory here, they go as well.
        environ = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONWARNINGS": "ignore", "TMPDIR": root}
        error = _wait([*command, "--smoke"] if smoke else command, environ, SECTIONS[section])
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if error:
            row = failed(section, error).to_json()
            print(report.line(row), flush=True)
            yield row


def _wait(command: list[str], environ: dict[str, str], limit: int) -> str:
    """Run a section to its end or its limit; says what went wrong, if anything."""
    process = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit} s"
    finally:
        # Also what a section that failed left running, and all of it if we are interrupted.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"exit code {code}" if code else ""


def _child(section: str, smoke: bool, target: Path) -> int:
    """Write a section's rows to a file, one per line as they are measured, and print them."""
    with target.open("w", encoding="utf-8") as file:

        def add(row: Any) -> None:
            file.write(json.dumps(row.to_json()) + "\n")
            file.flush()
            print(report.line(row.to_json()), flush=True)

        try:
            for row in importlib.import_module(f"benchmarks.{section}").rows(smoke):
                add(row)
        except Exception as error:
            traceback.print_exc()
            add(failed(section, f"{type(error).__name__}: {error}"))
    return 0


if __name__ == "__main__":
    # As on Ctrl-C, no section is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
