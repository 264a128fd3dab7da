"""The tables of the page out of the report, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from updater.evaluation.html import SYSTEMS

Json = Mapping[str, Any]
OTHERS = {
    "coles": "CoLES of pytorch-lifestream, on the same events for a given time",
    "paper": "the paper's backbone, trained on the same lake",
}


def tables(report: Json) -> str:
    """All tables that the report has something for, a heading above each."""
    [family] = report["family"].values()
    parts = [
        ("Means", _means(report["mean"])),
        ("Differences", _differences(report["differences"])),
        ("The family", _table(("system", "seen", "unseen"), [
            (f"`{system}`", _with_error(found, "auc"), _with_error(family["unseen"][system], "auc"))
            for system, found in family["seen"].items()
        ])),
        ("Seeds, means", _seeds(report.get("seeds", {}), "mean")),
        ("Seeds, differences", _seeds(report.get("seeds", {}), "differences")),
        ("Paraphrases", _paraphrases(report.get("paraphrases", {}))),
    ]  # fmt: skip
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts if table)


def _means(mean: Json) -> str:
    rows = []
    for system, found in mean.items():
        ms, size = found.get("cpu_ms_per_user"), found.get("bytes_per_user")
        rows.append(
            (
                f"`{system}`",
                SYSTEMS.get(system, OTHERS.get(system, "")),
                _with_error(found, "auc"),
                _with_error(found, "ks"),
                f"{found['held_out_auc']:.4f}",
                "–" if ms is None else f"{ms:.2f}",
                "–" if size is None else f"{size:,}",
            )
        )
    return _table(("system", "what it is", "AUC", "KS", "AUC of held-out users", "CPU ms", "bytes"), rows)


def _differences(found: Json) -> str:
    return _table(
        ("", "difference", "standard error", "in standard errors"),
        [
            (
                pair,
                f"{one['auc']:+.4f}",
                f"{one['auc_se']:.4f}",
                f"{one['auc'] / one['auc_se']:+.1f}" if one["auc_se"] else "–",
            )
            for pair, one in found.items()
        ],
    )


def _seeds(seeds: Json, part: str) -> str:
    """A row for each system or pair, a column for each seed."""
    names = list(dict.fromkeys(name for one in seeds.values() for name in one[part]))
    sign = "+" if part == "differences" else ""
    rows = [(f"`{name}`", *(_with_error(one[part][name], "auc", sign) for one in seeds.values())) for name in names]
    return _table(("", *(f"seed {seed}" for seed in seeds)), rows)


def _paraphrases(found: Json) -> str:
    if not found:
        return ""
    each = {"all": found["difference"], **{f"number {n}": one["difference"] for n, one in found["each"].items()}}
    rows = [(name, _with_error(one, "auc", "+"), _with_error(one, "ks", "+")) for name, one in each.items()]
    return _table(("paraphrases", "difference of AUC", "of KS"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]) if rows else ""


def _with_error(found: Json, metric: str, sign: str = "") -> str:
    return f"{found[metric]:{sign}.4f} ± {found[f'{metric}_se']:.4f}"
