"""The report as one page that needs nothing else. Templates make it, and escape every text."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment

from updater.encoders.config import ENCODERS
from updater.evaluation.charts import Chart, dot_chart
from updater.evaluation.html import ENCODER, page_templates
from updater.fidelity.gate import FEWEST_QUESTIONS, MOST_LOST
from updater.fidelity.schema import SUBTASKS
from updater.fidelity.systems.names import SYSTEMS

SUBTASK_WORDS = {
    "DF": "direct feature: what one of the last events was",
    "MF": "match feature: how often something happened",
    "IP": "item prediction: what the next event is",
    "AP": "attribute prediction: of what kind the next event is",
    "LI": "long-term interest: what is most frequent in the buffer",
    "SI": "short-term interest: what is most frequent of late",
    "IT": "interest trajectory: how the most frequent changed",
}
LEAD = (
    "What can be read back from the embeddings of one day: questions are made of the users' event logs, and simple "
    "readers answer them from stored numbers alone. Each system below is a way to keep a user in numbers."
)
METHOD = (
    "Questions are made of the event log, in the manner of UQABench (arXiv 2502.19178), each with options and with an "
    "answer that the log has. On another log and with other options these numbers stand beside none of that paper.",
    "For each question that many users are asked, a ridge regression is fitted in closed form to 70 % of the users, "
    "from a stored vector to the right answers; the others are asked. It chooses the option with the largest score. "
    "What such a map cannot read does not count, and no answer of the model is in it.",
    "What begins with asked is read option by option: what is kept of the user about each option, by one regression "
    "for all options of a question. Questions about numbers of events have no such options; asked answers them from "
    "the user under the question itself, the others as counts and text do.",
    "Accuracy stands beside that of the prior: the option that was right most often for the users that were fitted to. "
    "The lift is the share of the prior's errors that are none. Means are over sub-tasks, each counting alike.",
    "Intervals come from a bootstrap that draws whole users, once for all systems, so that differences are paired.",
)
CAVEATS = (
    "What can be read back is no proof that a task of a business is done better with it.",
    "A made-up log shows that numbers move as they should; what foretells the next event there says nothing of people.",
    "Shuffled rows and random numbers fall below the prior where options are values that the user has.",
)
MEAN_HEAD = ("system", "accuracy", "95 %", "prior", "lift", "95 %", "numbers per user")
KEPT_HEAD = ("property", "holds", "measured")
LLM_HEAD = ("answers from", "accuracy", "95 %", "tokens read", "letters A, B, …")
REMOVED_HEAD = ("filter", "questions removed")
SHOWN = ("candidate", "published", "counts", "text", "asked", "asked_counts", "prior")
"""Systems of the chart of the sub-tasks; the tables have all."""

Row = list[str]


def render(report: Mapping[str, Any], wrong: Sequence[str], lost: Sequence[str]) -> str:
    """The page.

    Args:
        report: what `report.make_report` made.
        wrong: what is wrong with the day's update.
        lost: why the candidate should not go live.
    """
    systems = list(report["macro"])
    page: str = (
        _templates()
        .get_template("fidelity.html.j2")
        .render(
            title=f"Fidelity of {report['model']} on {report['ds']}",
            report=report,
            wrong=wrong,
            lost=lost,
            macro_chart=_macro_chart(report["macro"]),
            subtask_chart=_subtask_chart(report["subtasks"], systems),
            means=[_of_system(name, found, report["columns"]) for name, found in report["macro"].items()],
            systems=[*(f"{name}: {_about(name)}" for name in systems if _about(name)), *_left_out(systems)],
            subtasks=[f"{name}: {SUBTASK_WORDS[name]}" for name in SUBTASKS if name in report["subtasks"]],
            accuracy_head=("sub-task", "questions", *systems),
            accuracies=[_accuracies([name], found) for name, found in report["subtasks"].items()],
            modality_head=("sub-task", "modality", "questions", *systems),
            modalities=[
                _accuracies([name, modality], found)
                for name, of_subtask in report["modalities"].items()
                for modality, found in of_subtask.items()
            ],
            difference_head=("difference", *report["subtasks"], "all sub-tasks"),
            differences=_differences(report["differences"]),
            kept=_kept(report),
            llm=_llm(report["llm"]),
            removed=[[name.replace("_", " "), f"{n:,}"] for name, n in report["questions"]["removed"].items()],
            made_from=_made_from(report),
        )
    )
    return page


@cache
def _templates() -> Environment:
    return page_templates(
        "updater.fidelity",
        LEAD=LEAD,
        METHOD=METHOD,
        CAVEATS=CAVEATS,
        MEAN_HEAD=MEAN_HEAD,
        KEPT_HEAD=KEPT_HEAD,
        REMOVED_HEAD=REMOVED_HEAD,
        LLM_HEAD=LLM_HEAD,
        MOST_LOST=f"{100 * MOST_LOST:g}",
        FEWEST_QUESTIONS=f"{FEWEST_QUESTIONS:,}",
    )


def _about(name: str) -> str:
    """What a system is; nothing of one that only the caller knows."""
    # An encoder is named with its width.
    return SYSTEMS.get(name, ENCODER if name.split()[0] in ENCODERS else "")


def _left_out(systems: Sequence[str]) -> Row:
    without = (
        "native is left out: nobody asked for it where each option costs a pass of a language model, or the live model "
        "keeps nothing of what it learned of answers; one that is trained now does"
    )
    return [] if "native" in systems else [without]


def _macro_chart(macro: Mapping[str, Any]) -> Chart:
    rows = {name: {"": (found["acc"], found["low"], found["high"])} for name, found in macro.items()}
    return dot_chart(rows, percent=True)


def _subtask_chart(subtasks: Mapping[str, Any], systems: Sequence[str]) -> Chart:
    shown = [name for name in SHOWN if name in systems]
    return dot_chart(
        {
            subtask: {name: (found[name]["acc"], found[name]["low"], found[name]["high"]) for name in shown}
            for subtask, found in subtasks.items()
        },
        percent=True,
    )


def _of_system(name: str, found: Mapping[str, Any], columns: Mapping[str, int]) -> Row:
    interval, lift = _interval(found["low"], found["high"]), _interval(found["lift_low"], found["lift_high"])
    numbers = f"{columns[name]:,}"
    return [name, _percent(found["acc"]), interval, _percent(found["prior"]), _percent(found["lift"]), lift, numbers]


def _accuracies(names: Row, found: Mapping[str, Any]) -> Row:
    number = next(iter(found.values()))["n"]
    enough = all(one["acc"] is not None for one in found.values())
    cells = [_percent(one["acc"]) if enough else "–" for one in found.values()]
    return [*names, f"{number:,}", *cells]


def _differences(found: Mapping[str, Any]) -> list[Row]:
    return [
        [pair.replace("-", " − "), *(_difference(one) for one in of_subtask.values())]
        for pair, of_subtask in found.items()
    ]


def _difference(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "–"
    return f"{100 * found['value']:+.1f} ({_interval(found['low'], found['high'], signed=True)})".replace("-", "−")


def _kept(report: Mapping[str, Any]) -> list[Row]:
    rows = []
    if parity := report["parity"]:
        rows.append(
            [
                "parity",
                _yes(parity["holds"]),
                f"vectors of {parity['different']:,} of {parity['users']:,} users differ from a rebuild, by at most "
                f"{parity['largest']:g}; {_percent(parity['agreement'])} of the answers agree; accuracy "
                f"{_points(parity['difference']['value'])}",
            ]
        )
    if fresh := report["freshness"]:
        parts = (("touched", f"{fresh['questions']:,} questions about the last day"), ("others", "all others"))
        said = [
            f"{what}: {_points(one['value'])} ({_interval(one['low'], one['high'], signed=True)})"
            for one, what in ((fresh[name], what) for name, what in parts)
        ]
        rows.append(["freshness", "–", f"accuracy above that of rows a day old, on {'; on '.join(said)}"])
    if local := report["locality"]:
        rows.append(
            [
                "locality",
                _yes(local["holds"]),
                f"{local['different']:,} of {local['pairs']:,} summaries of untouched modalities changed, and "
                f"{local['changed']:,} of {local['questions']:,} answers from them",
            ]
        )
    return rows


def _llm(found: Mapping[str, Any] | None) -> list[Row]:
    return [
        [
            name,
            _percent(one["acc"]),
            _interval(one["low"], one["high"]),
            f"{one['tokens']:g}",
            ", ".join(f"{100 * share:.0f} %" for share in one["letters"] or ()) or "–",
        ]
        for name, one in (found["systems"].items() if found else ())
    ]


def _made_from(report: Mapping[str, Any]) -> Row:
    asked, users = report["questions"], report["users"]
    return [
        f"day: {report['ds']}, known at {report['as_of']}",
        f"model: {report['model']}{'' if report['trained'] else ' (untrained)'}",
        *([f"candidate: {report['candidate']}"] if report["candidate"] else []),
        f"config: {report['config']}",
        f"questions: {asked['number']:,} in {asked['slots']:,} slots, of which {asked['test']:,} were answered",
        f"users: {users['fitted']:,} fitted to, {users['asked']:,} asked",
        f"set of questions: {asked['digest']}",
        f"version: {report['version']}",
        f"seed: {report['seed']}",
    ]


def _percent(value: float | None) -> str:
    # A small number below zero is not minus zero.
    return "–" if value is None else f"{round(100 * value, 1) + 0.0:.1f} %".replace("-", "−")


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f} points".replace("-", "−")


def _interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    if low is None or high is None:
        return "–"
    sign = "+" if signed else ""
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}".replace("-", "−")


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
