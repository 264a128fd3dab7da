"""Why published embeddings keep little of what is asked: `python -m benchmarks.fidelity.why`.

Takes the state that `python -m benchmarks.fidelity --log completejourney` left, and reads the same questions off one
scenario's embeddings and all of them, with other penalties of the probe, and off the state that is asked: with each
slot's question, with each option, and with the options of other users.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.fidelity.__main__ import LOGS
from benchmarks.product import paths_below
from updater.evaluation.metrics import Floats
from updater.fidelity.questions.make import make_questions
from updater.fidelity.readers import probe
from updater.fidelity.readers.anchored import anchored, anchored_options
from updater.fidelity.readers.asked import Asked
from updater.fidelity.readers.options import Phrases, answer_by_option
from updater.fidelity.scoring import Scorer, macro
from updater.fidelity.systems.stored import buffered, published
from updater.model.inference import InferenceModel
from updater.runtime.deployment import open_context
from updater.runtime.session import Session
from updater.settings import load_settings

PENALTIES = 1e-2, 1e-3, 1e-4, 1e-5
REPLICATES = 200


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity.why", description=__doc__)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--work", type=Path, default=Path("build/fidelity"))
    given = parser.parse_args()
    log = LOGS["completejourney"]
    settings = load_settings(log.config, environ=paths_below((given.work / "completejourney").resolve()))
    context = open_context(settings)
    window = context.window(log.ds)
    asked = Asked.of(make_questions(context, log.ds, users=given.users).table)
    users, version = asked.users.tolist(), context.live_model().version
    rows = asked.matrix(published(context, version, window, users))
    answers = {"prior": probe.prior(asked), "published": probe.answer(asked, rows)}
    width = settings.model.embedding_dim
    for number, scenario in enumerate(settings.scenarios):
        answers[f"{scenario.name} alone"] = probe.answer(asked, rows[:, number * width : (number + 1) * width])
    for penalty in PENALTIES:
        with patch.object(probe, "PENALTY", penalty):
            answers[f"published, penalty {penalty:g}"] = probe.answer(asked, rows)
    with Session(context) as session:
        events, model, phrases = (
            buffered(context, session, window, users),
            InferenceModel(session.model),
            Phrases.of(asked),
        )
        under = anchored(asked, np.arange(len(asked)), model, events).astype(float)
        answers["the slot's question"] = probe.answer_anchored(asked, under)
        moved = np.random.default_rng(settings.model.seed).permutation(len(users))
        for name, one in (
            ("each option", asked),
            ("each option, other users", replace(asked, user_Q=moved[asked.user_Q])),
        ):
            vectors = anchored_options(one, phrases, model, events)
            answers[name] = answer_by_option(one, phrases, vectors, answers["the slot's question"])
    print(
        f"{len(users)} users, {len(asked)} questions; axes that hold the published vectors: {effective_rank(rows):.1f}"
    )
    print(table(asked, answers))


def effective_rank(rows: Floats) -> float:
    """How many axes standardized vectors would fill that spread as evenly as these do (Roy and Vetterli 2007)."""
    deviation = rows.std(axis=0)
    z = (rows - rows.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    share = np.linalg.svd(z, compute_uv=False) ** 2
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def table(asked: Asked, answers: Mapping[str, probe.Answers]) -> str:
    """Accuracies of each sub-task in %, and the mean less that of the prior with its interval, as Markdown."""
    scorer = Scorer(asked, REPLICATES, 0)
    prior = macro(scorer.subtasks(answers["prior"]))
    names = list(scorer.subtasks(answers["prior"]))
    lines = [
        "| read from | " + " | ".join([*names, "mean", "above the prior"]) + " |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for name, one in answers.items():
        found = scorer.subtasks(one)
        mean = macro(found)
        if mean is None or prior is None:
            continue
        above = mean.minus(prior)
        cells = [f"{100 * found[each].value:.1f}" if found[each].is_sufficient else "–" for each in names]
        cells += [
            f"{100 * mean.value:.1f}",
            f"{100 * above.value:+.1f} ({100 * above.low:+.1f} to {100 * above.high:+.1f})",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
