"""What a report decides: whether a day's update is right, and whether a model version may take the live one's place.

No accuracy of its own decides anything: how much can be asked of a log depends on the log. A day is wrong if an update
was not equal to a rebuild, moved what it should have left alone, or a row knew what came after it. A model version is
kept from promotion if it forgets what the live one keeps. Neither holds up a daily window.
"""

import json
from collections.abc import Mapping
from typing import Any

from updater.errors import VerificationError
from updater.fidelity.questions.make import LEAK_REFUSED
from updater.lake import partitions

MOST_LOST = 0.02
"""Accuracy that another model version may lose on a sub-task."""
FEWEST_QUESTIONS = 1000
"""Of a sub-task that decides."""


def lost(report: Mapping[str, Any]) -> list[str]:
    """Why the candidate of a report should not go live; nothing if it may, or if there is none."""
    reasons = []
    for subtask, found in report["differences"].get("candidate-published", {}).items():
        decides = subtask != "macro" and found["n"] >= FEWEST_QUESTIONS and found["value"] is not None
        if decides and found["value"] < -MOST_LOST and found["high"] < 0:
            reasons.append(
                f"the candidate answers {subtask} with an accuracy {found['value']:+.4f} from that of the live model "
                f"(95 %: {found['low']:+.4f} to {found['high']:+.4f}, {found['n']:,} questions)"
            )
    return reasons


def wrong(report: Mapping[str, Any]) -> list[str]:
    """What is wrong with the day's update."""
    reasons = []
    parity, locality = report["parity"], report["locality"]
    if parity and not parity["holds"]:
        reasons.append(
            f"the published embeddings of {parity['different']:,} of {parity['users']:,} users differ from a rebuild, "
            f"by up to {parity['largest']:g}"
        )
    if locality and not locality["holds"]:
        reasons.append(
            f"{locality['different']:,} of {locality['pairs']:,} summaries of modalities without a change are others "
            f"than a day before, and {locality['changed']:,} answers changed"
        )
    if leaks := report["questions"]["removed"].get(LEAK_REFUSED, 0):
        reasons.append(f"{leaks:,} questions were refused because a row knew what came after it")
    return reasons


def raise_if_lost(file: str) -> None:
    """Raise VerificationError if the candidate of a report.json should not go live."""
    if reasons := lost(_read(file)):
        said = "; ".join(reasons)
        raise VerificationError(f"The model forgets what the live one keeps, by {file}: {said}.", findings=reasons)


def raise_if_wrong(file: str) -> None:
    """Raise VerificationError if the update of the day of a report.json is wrong."""
    report = _read(file)
    if reasons := wrong(report):
        said = "; ".join(reasons)
        raise VerificationError(f"The update of {report['ds']} is wrong, by {file}: {said}.", findings=reasons)


def _read(file: str) -> dict[str, Any]:
    fs, path = partitions.filesystem(file)
    report: dict[str, Any] = json.loads(fs.cat_file(path))
    return report
