"""Time one window by Celery on one host of one core, then on two: `python -m tests.hosts`. Wants a quiet machine."""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.hosts.cluster import Task, cluster
from tests.hosts.network import missing
from updater.sources.synthetic import SyntheticSpec


@click.command()
@click.option("--users", default=3000, show_default=True, help="Users of the made-up lake, all of whom change.")
@click.option("--days", default=4, show_default=True, help="Landed days; the window is the last.")
@click.option("--groups", default=4, show_default=True, help="Refresh tasks.")
def main(users: int, days: int, groups: int) -> None:
    """Print the seconds of each step, and how many times as fast two hosts are."""
    if reason := missing():
        raise click.ClickException(reason)
    spec = SyntheticSpec(num_users=users, num_days=days)
    took = {}
    for names in (("one",), ("one", "two")):
        with (
            TemporaryDirectory(prefix="updater-hosts-") as root,
            cluster(Path(root), names, spec, cores=range(len(names))) as made,
        ):
            run = made.trigger(ds=str(spec.last_day), num_groups=groups, verify_users=1)
            took[len(names)] = _seconds(made.finish(run))
        print(json.dumps({"hosts": len(names), **took[len(names)]}), flush=True)
    print(json.dumps({"speed_up": {step: round(took[1][step] / took[2][step], 2) for step in took[1]}}))


def _seconds(tasks: list[Task]) -> dict[str, float]:
    """From the start of a step's first task to the end of its last, by step, and of the window."""
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for task in (task for task in tasks if task["state"] == "success"):
        span = tuple(datetime.fromisoformat(task[end].replace("Z", "+00:00")) for end in ("start_date", "end_date"))
        for step in (task["task_id"], "window"):
            spans.setdefault(step, []).append((span[0], span[1]))
    return {
        step: round((max(end for _, end in found) - min(start for start, _ in found)).total_seconds(), 1)
        for step, found in spans.items()
    }


if __name__ == "__main__":
    main()
