"""The report as one page that needs nothing else: figures lie in it, and every text is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from updater.evaluation.figures import Points, bars, differences, scatter
from updater.evaluation.tasks import Split

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .2em .7em; border-bottom: 1px solid #ddd }
th { text-align: left } td.n { text-align: right; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
img, svg { max-width: 100%; height: auto }
"""
SYSTEMS = {
    "tuned": "the model's embedding for the task's question after its soft prompt, if it has one",
    "base": "the same model without soft prompts",
    "live": "the live model with its soft prompts",
    "untrained": "the same architecture with first weights",
    "text": "the mean text vector of the user's events",
    "rfm": "recency, frequency and money, a logistic regression",
    "rfm_gb": "the same features, gradient boosting",
    "rfm_categories": "recency, frequency and money with counts of categories, a logistic regression",
    "recency": "only the days since the user's newest event",
}
METHOD = (
    "A linear probe (standardised columns, logistic regression with an L2 penalty) is fitted to each system's features "
    "and each task's training rows. One penalty for all tasks of a system is chosen on the validation anchors. A fifth "
    "of the users is held out of all training rows; “cold” is measured on them alone, everything else on all users.",
    "Every system of embeddings gets one column more: the logarithm of the days since the user's newest event.",
    "Features and labels are joined by the feature store as of an instant: a feature must have been known at its "
    "anchor, a label of one part before the next part begins.",
    "Intervals and standard errors come from a bootstrap that draws whole users, once for all tasks, so that "
    "differences are paired. KS is the largest difference between true and false positive rate.",
)
CAVEATS = (
    "One split in time: intervals say how much depends on which users were drawn, not on which weeks.",
    "Tasks overlap, as buying in two categories does; the mean over tasks is no independent count of successes.",
    "A task is “unseen” if neither training questions nor soft prompts were about it. Its probe has seen its labels; "
    "only the scores of the section “Without any label” have not.",
    "Of a backbone that comes with weights, the untrained system keeps these and has random adapters.",
)


ABLATIONS = "<!-- ablations -->", "<!-- end of ablations -->"
"""What stands between them in a page is made anew when ablations are added."""


def render(
    report: Mapping[str, Any], reasons: Sequence[str], model: str, anchors: Split, split: str, points: Points | None
) -> str:
    """The page.

    Args:
        report: what `report.make_report` made.
        reasons: why the model should not go live.
        model: its name.
        anchors: anchor days of the parts.
        split: the part that is reported.
        points: embeddings to show, if any.
    """
    verdict = _list(reasons) if reasons else "<p>The model passes the gate.</p>"
    days = {"training": anchors.train, "validation": anchors.validation, split: anchors.test}
    sections = [
        ("Gate", verdict if not reasons else f"<p>The model does not pass the gate:</p>{verdict}"),
        ("Means over the tasks", bars(report["mean"], "auc") + bars(report["mean"], "ks") + _means(report["mean"])),
        ("Differences", _differences(report["differences"])),
        ("Families", _families(report["family"])),
        ("Without any label", _values(report["zero_shot"], "task") if report["zero_shot"] else "<p>Nothing.</p>"),
        ("Tasks", _tasks(report["tasks"])),
        ("Embeddings", _embeddings(points)),
        ("Ablations", _ablations(report["ablations"]).join(ABLATIONS)),
        ("Method", "".join(f"<p>{escape(text)}</p>" for text in METHOD) + _systems(report["mean"])),
        ("Caveats", _list(CAVEATS)),
        (
            "Made from",
            _list(
                [
                    *(f"{name}: {', '.join(map(str, chosen)) or 'none'}" for name, chosen in days.items()),
                    f"commit: {report['commit'] or 'unknown'}",
                    f"seed: {report['seed']}",
                ]
            ),
        ),
    ]
    title = escape(f"Evaluation of {model}")
    body = "".join(f"<h2>{escape(name)}</h2>{content}" for name, content in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    )


def with_ablations(page: str, ablations: Mapping[str, Any]) -> str:
    """The page of a report to which ablations (`report.make_ablations`) were added."""
    before, rest = page.split(ABLATIONS[0])
    _, after = rest.split(ABLATIONS[1])
    return before + _ablations(ablations).join(ABLATIONS) + after


def _ablations(ablations: Mapping[str, Any]) -> str:
    if not ablations:
        return "<p>None were run.</p>"
    rows = [
        [
            name,
            *_with_error(v, "auc"),
            v["reference"],
            *_with_error(v["difference"], "auc"),
            *_with_error(v["difference"], "ks")[:2],
        ]
        for name, v in ablations.items()
    ]
    head = ["variant", "AUC", "se", "95 %", "compared with", "AUC", "se", "95 %", "KS", "se"]
    compared = {name: v["difference"] for name, v in ablations.items() if name != v["reference"]}
    return differences(compared, "auc") + _table(head, rows)


def _means(mean: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            *_with_error(v, "auc"),
            *_with_error(v, "ks"),
            _number(v.get("cold_auc")),
            [
                name,
                *_with_error(v, "auc"),
                *_with_error(v, "ks"),
                _number(v.get("cold_auc")),
                v["inverse_penalty"] or "–",
            ],
        ]
        for name, v in mean.items()
    ]
    return _table(["system", "AUC", "se", "95 %", "KS", "se", "95 %", "cold AUC", "C"], rows)


def _differences(differences: Mapping[str, Any]) -> str:
    return _values(differences, "difference")


def _values(values: Mapping[str, Any], what: str) -> str:
    rows = [[name, *_with_error(v, "auc"), *_with_error(v, "ks")] for name, v in values.items()]
    return _table([what, "AUC", "se", "95 %", "KS", "se", "95 %"], rows)


def _families(families: Mapping[str, Any]) -> str:
    rows = [
        [family, part, system, *_with_error(v, "auc"), *_with_error(v, "ks")]
        for family, parts in families.items()
        for part, systems in parts.items()
        for system, v in systems.items()
    ]
    if not rows:
        return "<p>No family has both seen and unseen members.</p>"
    return _table(["family", "values", "system", "AUC", "se", "95 %", "KS", "se", "95 %"], rows)


def _tasks(tasks: Mapping[str, Any]) -> str:
    systems = list(next(iter(tasks.values()), {}))
    rows = []
    for name, found in tasks.items():
        first = found[systems[0]]
        rows.append(
            [
                name,
                first["rows"],
                _number(first["base_rate"]),
                *(f"{_number(found[s]['auc'])} / {_number(found[s]['ks'])}" for s in systems),
            ]
        )
    return "<p>AUC / KS.</p>" + _table(["task", "rows", "base rate", *systems], rows)


def _embeddings(points: Points | None) -> str:
    if points is None:
        return "<p>Nothing to compare was evaluated.</p>"
    return (
        f"<p>Rows of the task {escape(points.task)}, coloured by its label, "
        f'{escape(" and ".join(points.embeddings))}.</p><img alt="PCA and t-SNE" src="{scatter(points)}">'
    )


def _systems(mean: Iterable[str]) -> str:
    return _list(f"{name}: {SYSTEMS.get(name, name)}" for name in mean)


def _with_error(values: Mapping[str, Any], metric: str) -> list[str]:
    interval = f"{_number(values.get(f'{metric}_low'))} to {_number(values.get(f'{metric}_high'))}"
    return [_number(values.get(metric)), _number(values.get(f"{metric}_se")), interval]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def _cell(value: Any) -> str:
    text = str(value)
    kind = ' class="n"' if text[:1].isdigit() or text[:2] in ("-0", "-1") or text == "–" else ""
    return f"<td{kind}>{escape(text)}</td>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
