"""Reports for people, on standard output."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from updater.domain.window import minute
from updater.fitting import fitting, least_width

Json = dict[str, Any]
SHOWN_IDS = 20
MOST_PLACES = 20
"""Lines of a list of places; JSON has all."""


def console(err: bool = False) -> Console:
    """The terminal; wide enough for the tables where there is none."""
    made = Console(stderr=err, highlight=False, soft_wrap=True)
    return made if made.is_terminal else Console(stderr=err, highlight=False, width=140, soft_wrap=True)


def echo(*lines: str) -> None:
    """Print lines as they are."""
    for line in lines:
        console().print(line, markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned to the right. One wider than the terminal is printed in parts, each with its
    first column, so that no number or date is cut off.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    numbers = [
        bool(rows) and all(str(row[position])[:1].isdigit() or row[position] == "" for row in rows)
        for position in range(len(columns))
    ]
    shown = console()
    for part, positions in enumerate(fitting(columns, cells, shown.width)):
        made = Table(title=None if part else title, title_justify="left", title_style="bold", header_style="bold")
        for position in positions:
            made.add_column(
                columns[position],
                justify="right" if numbers[position] else "left",
                overflow="fold",
                min_width=least_width(columns[position], [row[position] for row in cells]),
            )
        for row in cells:
            made.add_row(*(row[position] for position in positions))
        shown.print(made)


def _cell(value: Any) -> Text:
    """Numbers with separators, text as it is: ids are data, neither markup nor control sequences of the terminal."""
    return Text(_plain(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def show_setup(report: Json) -> None:
    """The result of `updater init`."""
    echo(
        f"ledger         {report['ledger']}",
        f"state          {report['state']}",
        f"model          {report['model']}"
        + ("" if report["trained"] else "  (untrained: weights made from the config's seed)"),
        f"feature store  {report['feature_store']}",
        f"feature views  {', '.join(report['feature_views'])}",
        f"fixed          {', '.join(f'{key} {value}' for key, value in report['fixed'].items())}, "
        "and what each modality declares: others need a new state",
    )
    if report["not_loaded"]:
        names = ", ".join(report["not_loaded"])
        echo(f"Registered again, without online values: {names}. Load them before the next window:", report["load"])


def show_windows(reports: Sequence[Json], nothing: str = "nothing changed") -> None:
    """One line per window; `nothing` says what was done where there was none to run."""
    done = [report for report in reports if not report["already_done"]]
    for report in reports:
        if report["already_done"]:
            echo(f"{report['ds']} was already done; nothing changed.")
    if not reports:
        echo(f"All windows of the range were already done; {nothing}.")
    if not done:
        return
    steps = list(dict.fromkeys(step for report in done for step in report["seconds"]))
    rows = [
        [
            r["ds"],
            r["changed_users"],
            r["changed_summaries"],
            r["texts_encoded"],
            r["prefixes"],
            f"{r['share']:.1%}",
            sum(m["rejected"] for m in r["modalities"]),
            *(f"{r['seconds'][step]:.1f}" if step in r["seconds"] else "" for step in steps),
        ]
        for r in done
    ]
    table(
        "Daily windows: users who changed, what was computed for them (share: of a full recompute), rows rejected, "
        "seconds per step",
        ["ds", "users", "summaries", "texts", "prefixes", "share", "rejected", *steps],
        rows,
    )
    if rejected := sum(m["rejected"] for r in done for m in r["modalities"]):
        echo(f"Rejected rows: {rejected:,}. They are in the state's directory rejected, each with its reason.")
    echo(
        f"model {done[-1]['model']}"
        + (": untrained weights, only a smoke test" if "untrained" in done[-1]["model"] else "")
    )


def show_audit(rows: Sequence[Json]) -> None:
    """The result of `updater state audit`: a line per row, newest first, with instants in UTC."""
    if not rows:
        echo("No change is on record yet.")
    width = max((len(row["actor"]) for row in rows), default=0)
    for row in rows:
        when, subject = f"{row['at']:%Y-%m-%d %H:%M:%S}", json.dumps(row["subject"], ensure_ascii=False)
        echo(_plain(f"{when}  {row['actor']:{width}}  {row['action']:8}  {subject}"))


def show_plan(plan: Json) -> None:
    """The result of `updater plan` and `updater run --dry-run`."""
    if plan["already_done"]:
        echo(f"{plan['ds']} is already done; a run would change nothing.")
        return
    rows = [
        [
            m["modality"],
            m["rows"],
            m["rejected"],
            m["changed_users"],
            ", ".join(f"{n:,} {why}" for why, n in m["reasons"].items()),
            m["texts_to_encode"],
        ]
        for m in plan["modalities"]
    ]
    table(
        f"Plan for {plan['ds']}", ["modality", "rows", "rejected", "users changed", "events", "texts to encode"], rows
    )
    time = (
        "how long that takes can be told once a window was run by `updater run` or `updater backfill`"
        if plan["estimated_seconds"] is None
        else f"about {plan['estimated_seconds']} s at the rate of {plan['estimated_from']}"
    )
    echo(
        f"{plan['prefixes']:,} users to compute ({plan['changed_users']:,} changed, "
        f"{plan['backfill_users']:,} others for new scenarios), "
        f"{plan['texts_to_encode']:,} texts to encode; {time}. Nothing was changed."
    )
    if plan["users"]:
        table("First changed users", ["user_id", "modality", "reason"], [list(user.values()) for user in plan["users"]])


def show_backfill(report: Json) -> None:
    """The result of `updater backfill`."""
    if (restated := report["restated"]) is not None:
        echo(
            f"Restated {restated['values']:,} values of {restated['users']:,} users over {restated['days']:,} days."
            if restated
            else "No partition of the range was rewritten after processing; nothing to restate."
        )
    show_windows(report["windows"], "no other was to run" if restated else "nothing changed")


def show_backfill_plan(plan: Json) -> None:
    """The result of `updater backfill --dry-run`."""
    echo(
        f"{len(plan['days'])} windows are missing"
        + (f": {plan['days'][0]} to {plan['days'][-1]}." if plan["days"] else ".")
    )
    if plan["not_landed"]:
        echo(f"{len(plan['not_landed'])} of them have not landed; the first is {plan['not_landed'][0]}.")
    if plan["rewritten"]:
        echo(
            f"{len(plan['rewritten'])} partitions were rewritten after processing: "
            f"{', '.join(plan['rewritten'])}; restating them "
            f"recomputes up to {plan['affected_users']:,} users over {plan['affected_days']:,} days."
        )


def version_state(model: Json) -> str:
    """Whether a model version is live, may become live, or is gone."""
    return "live" if model["live"] else "removed" if model["removed"] else "not live"


def show_status(report: Json) -> None:
    """The result of `updater status`."""
    days = report["waiting"]
    echo(
        f"watermark   {report['watermark'] or 'none: no window is committed'}",
        f"model       {report['model']}" + ("" if report["trained"] else "  (untrained)"),
        f"waiting     {len(days)} landed days"
        + (f"; `updater backfill --from-date {days[0]} --to-date {days[-1]}` runs them" if days else ""),
        f"unfinished  {', '.join(report['unfinished']) or 'none'}",
    )
    for model in report["versions"]:
        echo(f"version {model['version']:<3} {model['model']}, {version_state(model)}")
    for item in report["rewritten"]:
        echo(
            f"rewritten   {item['modality']} {item['ds']} changed after it was processed; "
            f"restate with `{item['restate_with']}`"
        )
    table(
        "State",
        ["part", "files", "bytes"],
        [[part, size["files"], size["bytes"]] for part, size in report["sizes"].items()],
    )
    if report["health"] is not None:
        show_health(report["health"])
    rows = [
        [r["ds"], r["changed_users"], r["texts_encoded"], r["prefixes"], minute(r["completed_at"])]
        for r in report["runs"]
    ]
    table("Last windows", ["ds", "users changed", "texts encoded", "users computed", "completed at (UTC)"], rows)


def show_health(health: Json) -> None:
    """The newest window against the alert thresholds."""
    table(
        "Modalities",
        ["modality", "landed", "processed", "newest event (UTC)", "days before as_of", "rows", "rejected"],
        [
            [
                m["modality"],
                m["landed"] or "never",
                m["processed"] or "never",
                minute(m["newest_event"]) if m["newest_event"] else "none",
                "" if m["days_since_last_event"] is None else m["days_since_last_event"],
                m["rows"],
                f"{m['rejected_share']:.2%}",
            ]
            for m in health["modalities"]
        ],
    )
    table(
        "Scenarios: embeddings of the newest window beside the same users' previous ones",
        ["scenario", "as of (UTC)", "hours ago", "users", "mean cosine", "shift of the mean"],
        [
            [
                s["scenario"],
                minute(s["as_of"]) if s["as_of"] else "with the next window",
                "" if s["hours_since_as_of"] is None else f"{s['hours_since_as_of']:,.1f}",
                s["compared_users"],
                "" if s["day_cosine"] is None else f"{s['day_cosine']:.4f}",
                "" if s["mean_shift"] is None else f"{s['mean_shift']:.4f}",
            ]
            for s in health["scenarios"]
        ],
    )
    usual = health["usual_changed_share"]
    echo(
        f"changed     {health['changed_share']:.1%} of the users; "
        + ("too few windows to say what is usual" if usual is None else f"usually {usual:.1%}")
    )
    if (values := health["online_values"]) is not None:
        echo(f"online      {health['online_mismatches']:,} of {values:,} values differ from the offline ones")
    if not health["alerts"]:
        echo("alerts      none")
    for alert in health["alerts"]:
        limit = f"{alert['threshold']} is {alert['limit']:g}"
        echo(f"alert       {alert['where']}: {limit}, the value {alert['value']:.6g}")


def show_verification(report: Json) -> None:
    """The result of `updater state verify`."""
    echo(
        f"{report['users']:,} users at {report['ds']}: {report['summaries']:,} summaries and "
        f"{report['texts']:,} text vectors compared to the bit, "
        f"{report['embeddings']:,} embeddings (largest difference {report['max_embedding_difference']:.1e}), "
        + (f"{report['profiles']:,} profiles to the byte, " if report["profiles"] else "")
        + f"{report['online_values']:,} online values; {report['partitions']:,} partitions of the lake; "
        f"{len(report['differences'])} differences."
    )
    if report["awaited"]:
        echo(f"Not compared, because the next window computes it anew: {', '.join(report['awaited'])}.")
    for line in report["differences"][:20]:
        echo(f"  {line}")


def show_erasure(report: Json) -> None:
    """The result of `updater user erase`."""
    echo(
        f"Erased {report['users']:,} users: {report['rows']:,} rows from files ({report['files_rewritten']:,} files "
        f"rewritten, {report['files_removed']:,} removed), {report['online_rows']:,} from the online store.",
    )
    if missing := report["not_found"]:
        shown = ", ".join(_plain(user) for user in missing[:SHOWN_IDS])
        more = f" and {len(missing) - SHOWN_IDS:,} more" if len(missing) > SHOWN_IDS else ""
        echo(f"{len(missing):,} of them were found nowhere; check these ids: {shown}{more}.")
    elif not report["rows"] and not report["online_rows"]:
        echo("No data of these users was found: they had been erased before.")
    if report["unfinished"]:
        echo(f"{report['unfinished']:,} other erasures were begun and not finished; run them again with their ids.")


def show_erasure_proof(report: Json) -> None:
    """The result of `updater user erase --verify`."""
    where = f"{report['files']:,} files, the ledger, the registry and the online store"
    echo(f"{report['users']:,} users searched in {where}: {'found' if report['places'] else 'found nowhere'}.")
    groups: dict[str, list[str]] = {}
    for place in report["places"]:
        what, of, path = place.partition(" of /")
        # The directory of a part of the state stands for its days and buckets.
        where = f"/{path}".rpartition("/")[0].partition("/ds=")[0] if of else place
        groups.setdefault(where, []).append(what)
    for where, found in sorted(groups.items())[:MOST_PLACES]:
        kinds = ", ".join(sorted(set(found)))
        echo(f"  {where}: {len(found):,} places ({kinds})" if len(found) > 1 or kinds != where else f"  {where}")
    if len(groups) > MOST_PLACES:
        echo(f"  and {len(groups) - MOST_PLACES:,} more; `--json` has them all.")
