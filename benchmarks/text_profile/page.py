"""The transfer report as one page that needs nothing else. A template makes it, and escapes every text."""

from collections.abc import Mapping
from typing import Any

from updater.evaluation.html import page_templates

LEAD = (
    "A textual profile is written once and read by whoever can read. Here are the texts of the day before, and what "
    "they tell of the events of a day, in the hands of others than those they were written for. Half is chance."
)
CAVEATS = (
    "The sentence encoder is small and was trained for none of this: what it makes of a text is no measure of what "
    "a larger language model would.",
    "Rejected values are drawn; a lake of purchases does not say what a household saw and did not take.",
    "The questions of the readers are those about which the text says something, so their shares are above those of "
    "all questions.",
    "No number of AlignXplore+ (arXiv 2601.04963) stands beside these: other data, another updater, other readers.",
)
NEGATIVES = {"popular": "drawn by popularity", "uniform": "any value", "own": "the household's own"}


def render(report: Mapping[str, Any]) -> str:
    """The page of what `transfer.measure_transfer` found, with the command and the machine."""
    readers = report["readers"]
    said = (
        f"Of {readers['of']:,} questions about one day, {readers['questions']} are asked of two: the rules' reader, "
        f"which believes a value as much as the text says of it, and the frozen sentence encoder {readers['encoder']}, "
        f"which takes the value whose vector is nearer to that of the whole text. They agree on "
        f"{_percent(readers['agreement'])} of them."
    )
    if readers["model"]:
        found = readers["language_model"]
        said += (
            f" The causal language model {readers['model']} is asked the first {found['questions']} of them in words, "
            f"in both orders of the options. It prefers the first letter in {_percent(found['first_letter'])} of its "
            f"prompts and agrees with the rules' reader on {_percent(found['agreement_with_rules'])} of the questions. "
        )
        said += (
            "With a profile it has more right than without, by more than two standard errors."
            if found["can_read"]
            else "It has not more right with a profile than without, by two standard errors: it is no reader of them."
        )
    page: str = (
        page_templates("benchmarks.text_profile")
        .get_template("transfer.html.j2")
        .render(
            title="Transfer of textual profiles",
            lead=LEAD,
            readers_said=said,
            readers=[[name, *_share(one)] for name, one in readers["shares"].items()],
            modalities=[
                [one["source"], one["target"], f"{one['questions']:,}", *_share(one["share"])]
                for one in report["modalities"]
            ],
            negatives=[
                [
                    NEGATIVES[one["negatives"]],
                    f"{one['questions']:,}",
                    *_share(one["share"]),
                    *_share(one["popularity"]),
                ]
                for one in report["negatives"]
            ],
            streamed=[[str(one["updates"]), f"{one['users']:,}", f"{one['equal']:,}"] for one in report["streamed"]],
            caveats=CAVEATS,
            made_from=[f"{name}: {report[name]}" for name in ("data", "days", "command", "commit", "machine")],
        )
    )
    return page


def _share(one: Mapping[str, Any] | None) -> list[str]:
    if one is None:
        return ["–", "–"]
    return [_percent(one["value"]), "–" if one["error"] is None else _percent(one["error"])]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %".replace("-", "−")
