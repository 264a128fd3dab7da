"""The tables of the page out of the report, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from updater.evaluation.html import SYSTEMS

Json = Mapping[str, Any]
OTHERS = {
    "coles": "CoLES of pytorch-lifestream, on the same events for a given time",
    "paper": "the paper's layout and losses, trained on the same lake for as long",
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
        ("Seeds, seen", _seeds_family(report.get("seeds", {}), "seen")),
        ("Seeds, unseen", _seeds_family(report.get("seeds", {}), "unseen")),
        ("Ablations", _ablations(report.get("ablations", {}))),
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
                f"{one['auc']:+z.4f}",
                f"{one['auc_se']:.4f}",
                f"{one['auc'] / one['auc_se']:+.1f}" if one["auc_se"] else "–",
            )
            for pair, one in found.items()
        ],
    )


def _seeds(seeds: Json, part: str) -> str:
    """A row for each system or pair, a column for each seed; a dash where a seed has no such system."""
    return _by_seed({seed: one[part] for seed, one in seeds.items()}, "+" if part == "differences" else "")


def _seeds_family(seeds: Json, part: str) -> str:
    """The same of the tasks of the family that were asked about in training, or were not."""
    found = {}
    for seed, one in seeds.items():
        [family] = one["family"].values()
        found[seed] = family[part]
    return _by_seed(found)


def _by_seed(found: Mapping[str, Json], sign: str = "") -> str:
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    rows = [
        (f"`{name}`", *(_with_error(one[name], "auc", sign) if name in one else "–" for one in found.values()))
        for name in names
    ]
    return _table(("", *(f"seed {seed}" for seed in found)), rows)


def _ablations(found: Json) -> str:
    """A row for each variant."""
    rows = [
        (
            name,
            f"{one['auc']:.4f}",
            _with_error(one["difference"], "auc", "+"),
            _with_error(one["difference"], "ks", "+"),
        )
        for name, one in found.items()
    ]
    return _table(("variant", "AUC", "difference of AUC", "of KS"), rows)


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
    return f"{found[metric]:{sign}z.4f} ± {found[f'{metric}_se']:.4f}"
