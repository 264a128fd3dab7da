"""A report as the tables of the page."""

from typing import Any


def tables(log: str, report: dict[str, Any]) -> str:
    """Accuracies of each sub-task, and the means with their intervals, as Markdown."""
    subtasks = report["subtasks"]
    numbers = [f"{found['prior']['n']:,}" for found in subtasks.values()]
    lines = [
        f"### {log}, {report['ds']}, {report['model']}",
        "",
        "| system | " + " | ".join([*subtasks, "mean", "95 %", "lift", "numbers per user"]) + " |",
        "|---|" + "---:|" * (len(subtasks) + 4),
    ]
    for name, mean in report["macro"].items():
        cells = [_percent(found[name]["acc"]) for found in subtasks.values()]
        interval = f"{_percent(mean['low'])} to {_percent(mean['high'])}"
        cells += [_percent(mean["acc"]), interval, _percent(mean["lift"]), f"{report['columns'][name]:,}"]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines += ["| questions | " + " | ".join([*numbers, *[""] * 4]) + " |", ""]
    parity, fresh, local = report["parity"], report["freshness"], report["locality"]
    lines.append(
        f"Parity: {parity['different']} of {parity['users']:,} users differ, {_percent(parity['agreement'])} of the "
        "answers agree."
    )
    if fresh:
        said = [
            f"{100 * fresh[part]['value']:+.1f} ({100 * fresh[part]['low']:+.1f} to {100 * fresh[part]['high']:+.1f})"
            for part in ("touched", "others")
        ]
        lines.append(
            f"Freshness: {said[0]} points on {fresh['questions']:,} questions about the last day, "
            f"{said[1]} on the others."
        )
    if local:
        lines.append(
            f"Locality: {local['different']} of {local['pairs']:,} summaries and {local['changed']} of "
            f"{local['questions']:,} answers moved."
        )
    if "seconds" in report:
        lines.append(f"{report['seconds']} s, {report['cpu_seconds']} CPU seconds for the report; {report['machine']}.")
    return "\n".join([*lines, ""])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
