"""The report as one page that needs nothing else: figures lie in it. Templates make it, and escape every text."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from updater.encoders.config import ENCODERS
from updater.evaluation.charts import Chart, dot_chart
from updater.evaluation.figures import Picture
from updater.evaluation.report import has_model
from updater.labels.split import Split

ENCODER = "an encoder that was pre-trained on the same log to predict the next event"
SYSTEMS = {
    "tuned": "the model's embedding for the task's question after its soft prompt, if it has one",
    "base": "the same model without soft prompts",
    "live": "the live model with its soft prompts",
    "fitted": "the same model without one step of training: means, scales and first maps fitted to the data",
    "without_layers": "the same model with the layers of its language model left out",
    "untrained": "the same architecture with random weights",
    "text": "the mean text vector of the user's events",
    "rfm": "recency, frequency and money, a logistic regression",
    "rfm_gb": "the same features, gradient boosting",
    "with_counts": "the features of base and of rfm_categories concatenated, one probe",
    "rfm_categories": "recency, frequency and money with counts of categories, a logistic regression",
    "rfm_decayed": "the same and counts whose events halve in weight every 21 days, a logistic regression",
    "recency": "only the days since the user's newest event",
    **{str(name): ENCODER for name in ENCODERS},
}
LEAD = (
    "How well questions about users, whose answers came later, can be told from what each system keeps of them. "
    "AUC is the chance that a user of whom the answer is yes is ranked before one of whom it is no: 0.5 is guessing."
)
METHOD = (
    "A linear probe (standardized columns, logistic regression with an L2 penalty) is fitted to each system's features "
    "and each task's training rows. One penalty for all tasks of a system is chosen on the validation anchors. It "
    "takes all columns for alike or, “by part”, all parts of a system's features however many columns each has: the "
    "embedding, the days since the newest event, recency with frequency and money, counts. A fifth of the users is in "
    "no training row; “held-out” is measured on them alone, everything else on all users.",
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

Row = list[str]
MEAN_HEAD = ("system", "AUC", "se", "95 %", "KS", "se", "95 %", "held-out AUC", "C", "CPU ms", "bytes")
_VALUES_HEAD = ("AUC", "se", "95 %", "KS", "se", "95 %")
DIFFERENCE_HEAD = ("difference", *_VALUES_HEAD)
FAMILY_HEAD = ("family", "values", "system", *_VALUES_HEAD)
ZERO_SHOT_HEAD = ("task", *_VALUES_HEAD)
PARAPHRASES_HEAD = ("paraphrases", "tasks", *_VALUES_HEAD)
PARAPHRASED_TASKS_HEAD = ("task", "paraphrase", "AUC", "difference")
ABLATIONS_HEAD = ("variant", "AUC", "se", "95 %", "compared with", "AUC", "se", "95 %", "KS", "se")
ABLATIONS = "<!-- ablations -->", "<!-- end of ablations -->"
"""What stands between them in a page is made again when ablations are added."""


def render(
    report: Mapping[str, Any],
    reasons: Sequence[str],
    beside: Sequence[str],
    model: str,
    anchors: Split,
    split: str,
    picture: Picture | None,
    about: Mapping[str, str] | None = None,
) -> str:
    """The page.

    Args:
        report: what `report.make_report` made.
        reasons: why the model should not go live.
        beside: what is shown beside the gate.
        model: its name.
        anchors: anchor days of the parts.
        split: the part that is reported.
        picture: embeddings to show, if any.
        about: what systems that only the caller knows are, by name.
    """
    mean, systems = report["mean"], list(next(iter(report["tasks"].values()), {}))
    known = {**SYSTEMS, **(about or {})}
    page: str = (
        _templates()
        .get_template("report.html.j2")
        .render(
            title=f"Evaluation of {model}",
            model_compared=has_model(report),
            reasons=reasons,
            beside=beside,
            auc_chart=_chart(mean, "auc"),
            ks_chart=_chart(mean, "ks"),
            means=[_of_system(name, found) for name, found in mean.items()],
            systems=[f"{name}: {known[name]}" for name in mean if name in known],
            differences=_named({name.replace("-", " − "): found for name, found in report["differences"].items()}),
            families=[
                # A name with a place for the value looks like a template that failed.
                [family.replace("{value}", "…"), part, *row]
                for family, parts in report["family"].items()
                for part, found in parts.items()
                for row in _named(found)
            ],
            zero_shot=_named(report["zero_shot"]),
            paraphrases=_paraphrases(report["paraphrases"]),
            paraphrased_tasks=_paraphrased_tasks(report["paraphrases"]),
            tasks_head=("task", "rows", "base rate", *systems),
            tasks_auc=[_of_task(name, found, systems, "auc") for name, found in report["tasks"].items()],
            tasks_ks=[_of_task(name, found, systems, "ks") for name, found in report["tasks"].items()],
            picture=picture,
            ablations=Markup(_ablations(report["ablations"]).join(ABLATIONS)),
            made_from=_made_from(report, anchors, split),
        )
    )
    return page


def with_ablations(page: str, ablations: Mapping[str, Any]) -> str:
    """The page of a report to which ablations (`report.make_ablations`) were added."""
    before, rest = page.split(ABLATIONS[0])
    _, after = rest.split(ABLATIONS[1])
    return before + _ablations(ablations).join(ABLATIONS) + after


def page_templates(package: str, **names: Any) -> Environment:
    """Templates of a package, and behind them those of the evaluation, which the pages have in common.

    Args:
        package: the package whose `templates/` are meant, such as `updater.fidelity`.
        names: what they know beside what they are given.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("updater.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    templates.globals.update(numbers=number_columns, **names)
    return templates


@cache
def _templates() -> Environment:
    return page_templates(
        "updater.evaluation",
        LEAD=LEAD,
        METHOD=METHOD,
        CAVEATS=CAVEATS,
        MEAN_HEAD=MEAN_HEAD,
        DIFFERENCE_HEAD=DIFFERENCE_HEAD,
        FAMILY_HEAD=FAMILY_HEAD,
        ZERO_SHOT_HEAD=ZERO_SHOT_HEAD,
        PARAPHRASES_HEAD=PARAPHRASES_HEAD,
        PARAPHRASED_TASKS_HEAD=PARAPHRASED_TASKS_HEAD,
    )


def _ablations(ablations: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            *_with_error(found, "auc"),
            str(found["reference"]),
            *_with_error(found["difference"], "auc"),
            *_with_error(found["difference"], "ks")[:2],
        ]
        for name, found in ablations.items()
    ]
    compared = {name: found["difference"] for name, found in ablations.items() if name != found["reference"]}
    chart = _chart(compared, "auc")
    part: str = _templates().get_template("ablations.html.j2").render(head=ABLATIONS_HEAD, rows=rows, chart=chart)
    return part


def _chart(found: Mapping[str, Mapping[str, Any]], metric: str) -> Chart:
    """AUC or KS with its interval, by name."""
    ends = f"{metric}_low", f"{metric}_high"
    return dot_chart({name: {"": (one[metric], one[ends[0]], one[ends[1]])} for name, one in found.items()})


def _of_system(name: str, found: Mapping[str, Any]) -> Row:
    penalty = found["inverse_penalty"]
    chosen = "–" if penalty is None else f"{penalty:g} {'by part' if found.get('penalty_by_part') else ''}".strip()
    of_held_out = _number(found.get("held_out_auc"))
    ms, num_bytes = found.get("cpu_ms_per_user"), found.get("bytes_per_user")
    cost = ["–" if ms is None else f"{ms:.2f}", "–" if num_bytes is None else f"{num_bytes:,}"]
    return [name, *_values(found), of_held_out, chosen, *cost]


def _paraphrases(found: Mapping[str, Any]) -> list[Row]:
    """The differences of all, of the first ones, of the second ones, and so on."""
    if not found:
        return []
    each = [[f"number {n}", str(one["tasks"]), *_values(one["difference"])] for n, one in found["each"].items()]
    return [["all", str(len(found["tasks"])), *_values(found["difference"])], *each]


def _paraphrased_tasks(found: Mapping[str, Any]) -> list[Row]:
    return [
        [task, query, _number(one["auc"]), _number(one["difference"])]
        for task, queries in found.get("tasks", {}).items()
        for query, one in queries.items()
    ]


def _of_task(name: str, found: Mapping[str, Any], systems: Sequence[str], metric: str) -> Row:
    first = found[systems[0]]
    values = [_number(found[system][metric]) for system in systems]
    return [name, f"{first['rows']:,}", _number(first["base_rate"]), *values]


def _named(values: Mapping[str, Any]) -> list[Row]:
    return [[name, *_values(found)] for name, found in values.items()]


def _values(found: Mapping[str, Any]) -> Row:
    return [*_with_error(found, "auc"), *_with_error(found, "ks")]


def _made_from(report: Mapping[str, Any], anchors: Split, split: str) -> Row:
    days = {"training": anchors.train, "validation": anchors.validation, split: anchors.test}
    version, commit = report.get("version"), report.get("commit")
    return [
        *(f"{name}: {', '.join(map(str, chosen)) or 'no anchor day'}" for name, chosen in days.items()),
        *([f"version: {version}"] if version else []),
        *([f"commit: {commit}"] if commit else []),
        f"seed: {report['seed']}",
    ]


def _with_error(values: Mapping[str, Any], metric: str) -> Row:
    interval = f"{_number(values.get(f'{metric}_low'))} to {_number(values.get(f'{metric}_high'))}"
    return [_number(values.get(metric)), _number(values.get(f"{metric}_se")), interval]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}".replace("-", "−")


def number_columns(rows: Sequence[Row]) -> set[int]:
    """Columns that hold numbers, of whatever form, and are set to the right."""
    return {
        column
        for column in range(len(rows[0]) if rows else 0)
        if all(row[column][:1].isdigit() or row[column][:1] in "-–−+" for row in rows)
    }
