"""The textual profile on public data: `python -m benchmarks.text_profile`, or one of its parts alone.

Lands 2017, trains a model, builds a state with profiles, and writes report.json beside this file: `utility` (do texts
tell the next day), `auc` (what a text keeps of what the events' texts know), `cost` (CPU of a day with profiles and
without), and `transfer` (other readers, other choices; also transfer.html; it needs the states of `cost`). What is done
is left alone: a part that is measured again replaces its own figures in the report. `tables` prints them.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.product import cpu_seconds
from benchmarks.report import about
from benchmarks.text_profile.auc import PROFILE, measure_auc
from benchmarks.text_profile.cost import FIRST, measure_cost, state_settings
from benchmarks.text_profile.page import render
from benchmarks.text_profile.transfer import measure_transfer
from updater.lake import partitions
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.init import create_ledger, initialize
from updater.pipeline.profile_utility import profile_utility
from updater.runtime.deployment import WritableContext, open_context, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources import completejourney
from updater.training.build import build_data
from updater.training.launch import launch

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "text_profile"
REPORT, PAGE = HERE / "report.json", HERE / "transfer.html"
MEASURED = date(2017, 7, 1), date(2017, 7, 3)
EVERYBODY = 2_500
PARTS = ("utility", "auc", "cost", "transfer")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_profile", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["all", *PARTS, "tables"], default="all")
    parser.add_argument(
        "--reader", metavar="NAME", help="a causal language model that reads profiles too, e.g. smollm2: minutes of CPU"
    )
    given = parser.parse_args()
    part = given.part
    if part != "tables":
        context = state()
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "utility": lambda: asdict(profile_utility(context, *MEASURED, EVERYBODY, progress)),
            "auc": lambda: measure_auc(context, str(WORK / "evaluation"), progress),
            "cost": lambda: measure_cost(context.settings, WORK / "cost"),
            "transfer": lambda: transfer(context, given.reader),
        }
        for name in PARTS if part == "all" else [part]:
            cpu = cpu_seconds()
            found = parts[name]()
            report = read()  # only now: another part may have been measured meanwhile
            report[name] = {
                "command": f"python -m benchmarks.text_profile {name}"
                + (f" --reader {given.reader}" if given.reader else ""),
                **about(),
                "used_cpu_seconds": round(cpu_seconds() - cpu),
                **found,
            }
            REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            if name == "transfer":
                PAGE.write_text(render(report[name]), encoding="utf-8")
    print(tables(read()))


def read() -> dict[str, Any]:
    """The report, as far as there is one."""
    return json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}


def state() -> WritableContext:
    """The lake of 2017, and a state with profiles up to the last measured day; its model is trained on days before."""
    settings = load_settings(HERE / "updater.toml")
    if not partitions.has_landed(partitions.join(settings.paths.lake, "trip"), completejourney.LAST_DAY):
        days = completejourney.FIRST_DAY, completejourney.LAST_DAY
        completejourney.land(settings.paths.lake, *days, settings.timezone)
    create_ledger(settings)
    context = open_writable(settings)
    if context.ledger.live_model() is None:
        with ProcessPool(settings, context.now) as pool:
            build_data(context, pool, progress)
        initialize(settings, launch(context, progress).model)
        context = open_writable(settings)
    if (context.ledger.watermark() or date.min) < MEASURED[1]:
        with ProcessPool(settings, context.now) as pool:
            backfill(context, pool, FIRST, MEASURED[1])
    return context


def transfer(context: WritableContext, reader: str | None) -> dict[str, Any]:
    """Texts in other hands; those that were streamed are of the state with profiles that `cost` ran windows on."""
    days = [MEASURED[0] + timedelta(days=number) for number in range((MEASURED[1] - MEASURED[0]).days + 1)]
    streamed = open_context(state_settings(context.settings, WORK / "cost", "with"))
    found = measure_transfer(context, streamed, days, EVERYBODY, reader, progress)
    return {"data": "public Complete Journey data of 2017", "days": ", ".join(map(str, days)), **found}


_said = [0.0]


def progress(label: str, done: int, total: int) -> None:
    """A line now and then."""
    if time.monotonic() - _said[0] > 20:
        _said[0] = time.monotonic()
        print(f"{label} {done}/{total}", flush=True)


def tables(report: dict[str, Any]) -> str:
    """The report as the README has it."""
    lines: list[str] = []
    if utility := report.get("utility"):
        names = ("profile", "popularity", "embedding", "above_popularity", "above_embedding")
        shown = "text | popularity | embedding | text above popularity | text above embedding"
        lines.append(f"| day | questions | {shown} |")
        lines.append("|---" * (len(names) + 2) + "|")
        for day in utility["days"]:
            lines.append(f"| {day['ds']} | {day['questions']:,} | {' | '.join(_share(day[name]) for name in names)} |")
        lines.append("| discounted mean | | " + " | ".join(_share(utility[name]) for name in names) + " |")
    if auc := report.get("auc"):
        lines += ["", "| system | AUC | KS | CPU ms per user | bytes per user |", "|---|---|---|---|---|"]
        for name, one in auc["mean"].items():
            means = f"{one['auc']:.4f} ± {one['auc_se']:.4f} | {one['ks']:.4f} ± {one['ks_se']:.4f}"
            lines.append(f"| `{name}` | {means} | {one['cpu_ms_per_user'] or 0:.2f} | {one['bytes_per_user']:,} |")
        lines += ["", f"`{PROFILE}` keeps {auc['kept_above_half']:.0%} of what `text` has above 1/2, and "]
        lines[-1] += f"{auc['kept_above_recency']:.0%} of what it has above recency."
    if cost := report.get("cost"):
        lines += ["", "| round | with | without | ratio |", "|---|---|---|---|"]
        for number, ratio in enumerate(cost["ratio_of_rounds"], 1):
            rows = [row for row in cost["windows"] if row["round"] == number]
            used = " | ".join(f"{sum(row[name] for row in rows):.2f}" for name in ("with", "without"))
            lines.append(f"| {number} | {used} | {ratio:.3f} |")
        total = cost["cpu_seconds"]
        lines.append(f"| all | {total['with']:.2f} | {total['without']:.2f} | {cost['ratio']:.3f} |")
    return "\n".join(lines)


def _share(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{one['value']:.4f}" + (f" ± {one['error']:.4f}" if one["error"] else "")


if __name__ == "__main__":
    main()
