"""Reports for people, on standard output."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Json = dict[str, Any]


def console(err: bool = False) -> Console:
    """The terminal; wide enough for the tables where there is none."""
    made = Console(stderr=err, highlight=False, soft_wrap=True)
    return made if made.is_terminal else Console(stderr=err, highlight=False, width=140, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines as they are."""
    for line in lines:
        console().print(line, markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for position, column in enumerate(columns):
        is_number = bool(rows) and all(str(row[position])[:1].isdigit() or row[position] == "" for row in rows)
        made.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        made.add_row(
            *(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value) for value in row)
        )
    console().print(made)


def show_setup(report: Json) -> None:
    """The result of `updater init`."""
    say(
        f"ledger         {report['ledger']}",
        f"state          {report['state']}",
        f"model          {report['model']}"
        + ("" if report["trained"] else "  (untrained: weights made from the config's seed)"),
        f"feature store  {report['feature_store']}",
        f"feature views  {', '.join(report['feature_views'])}",
    )


def show_windows(reports: Sequence[Json]) -> None:
    """One line per window."""
    done = [report for report in reports if not report["already_done"]]
    for report in reports:
        if report["already_done"]:
            say(f"{report['ds']} was already done; nothing changed.")
    if not reports:
        say("All windows of the range were already done; nothing changed.")
    if not done:
        return
    steps = list(dict.fromkeys(step for report in done for step in report["seconds"]))
    rows = [
        [
            r["ds"],
            r["changed_users"],
            r["changed_cells"],
            r["texts_encoded"],
            r["prefixes"],
            f"{r['share']:.1%}",
            sum(m["rejected"] for m in r["modalities"]),
            *(f"{r['seconds'][step]:.1f}" if step in r["seconds"] else "" for step in steps),
        ]
        for r in done
    ]
    table(
        "Daily windows: changes, work (share: prefixes of a full recompute), and seconds per step",
        ["ds", "users", "modalities", "texts", "prefixes", "share", "rejected", *steps],
        rows,
    )
    say(
        f"model {done[-1]['model']}"
        + (": untrained weights, a check of the wiring" if "untrained" in done[-1]["model"] else "")
    )


def show_plan(plan: Json) -> None:
    """The result of `updater run --dry-run`."""
    if plan["already_done"]:
        say(f"{plan['ds']} is already done; a run would change nothing.")
        return
    rows = [
        [
            m["modality"],
            m["rows"],
            m["rejected"],
            m["changed_users"],
            ", ".join(f"{n} {why}" for why, n in m["reasons"].items()),
            m["texts_to_encode"],
        ]
        for m in plan["modalities"]
    ]
    table(
        f"Plan for {plan['ds']}", ["modality", "rows", "rejected", "users changed", "events", "texts to encode"], rows
    )
    cost = (
        "unknown before the first window"
        if plan["estimated_seconds"] is None
        else f"about {plan['estimated_seconds']} s"
    )
    say(
        f"{plan['prefixes']:,} prefixes ({plan['changed_users']:,} changed users, "
        f"{plan['bystanders']:,} for new scenarios), "
        f"{plan['texts_to_encode']:,} texts to encode; cost {cost}. Nothing was changed."
    )
    if plan["users"]:
        table("First changed users", ["user_id", "modality", "reason"], [list(user.values()) for user in plan["users"]])


def show_backfill(report: Json) -> None:
    """The result of `updater backfill`."""
    if (restated := report["restated"]) is not None:
        say(
            f"Restated {restated['values']:,} values of {restated['users']:,} users over {restated['days']:,} days."
            if restated
            else "No partition of the range was rewritten after processing; nothing to restate."
        )
    show_windows(report["windows"])


def show_backfill_plan(plan: Json) -> None:
    """The result of `updater backfill --dry-run`."""
    say(
        f"{len(plan['days'])} windows are missing"
        + (f": {plan['days'][0]} to {plan['days'][-1]}." if plan["days"] else ".")
    )
    if plan["not_landed"]:
        say(f"{len(plan['not_landed'])} of them have not landed; the first is {plan['not_landed'][0]}.")
    if plan["rewritten"]:
        say(
            f"{len(plan['rewritten'])} partitions were rewritten after processing: "
            f"{', '.join(plan['rewritten'])}; restating them "
            f"recomputes up to {plan['affected_users']:,} users over {plan['affected_days']:,} days."
        )


def show_status(report: Json) -> None:
    """The result of `updater status`."""
    say(
        f"watermark   {report['watermark'] or 'none: no window is committed'}",
        f"model       {report['model']}" + ("" if report["trained"] else "  (untrained)"),
        f"waiting     {len(report['waiting'])} landed days"
        + (f", first {report['waiting'][0]}" if report["waiting"] else ""),
        f"unfinished  {', '.join(report['unfinished']) or 'none'}",
    )
    for item in report["rewritten"]:
        say(
            f"rewritten   {item['modality']} {item['ds']} changed after it was processed; "
            f"restate with `{item['restate_with']}`"
        )
    table(
        "State",
        ["part", "files", "bytes"],
        [[part, size["files"], size["bytes"]] for part, size in report["sizes"].items()],
    )
    rows = [[r["ds"], r["changed_users"], r["texts_encoded"], r["prefixes"], r["completed_at"]] for r in report["runs"]]
    table("Last windows", ["ds", "users changed", "texts encoded", "prefixes", "completed at (UTC)"], rows)


def show_verification(report: Json) -> None:
    """The result of `updater verify`."""
    say(
        f"{report['users']:,} users at {report['ds']}: {report['summaries']:,} summaries and "
        f"{report['texts']:,} text vectors compared to the bit, "
        f"{report['embeddings']:,} embeddings (largest difference {report['max_embedding_difference']:.1e}), "
        f"{report['online_values']:,} online values; {len(report['differences'])} differences."
    )
    for line in report["differences"][:20]:
        say(f"  {line}")
