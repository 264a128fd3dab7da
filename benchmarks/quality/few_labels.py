"""What a soft prompt gains where labels are few, what the model answers without any, and what its answer gains.

Labels of the training anchors are drawn, a prompt is tuned on them, a probe is fitted to the same ones under the plain
question, under the prompt, and under the plain question with the model's own answer beside the embedding, and all score
the validation anchor. A prompt that `PromptTuner` does not keep leaves the plain question's embedding, as it does for
`updater model tune`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from benchmarks.quality.seeds import train_alone
from updater.evaluation.evaluation_set import load_evaluation_set
from updater.evaluation.metrics import Floats, auc_and_ks
from updater.evaluation.probe import Penalty, logistic_path
from updater.evaluation.report import Json
from updater.evaluation.scoring import PENALTIES, PENALTIES_BY_PART, TaskRows
from updater.labels.events import open_events
from updater.labels.tasks import question
from updater.model.checkpoint import load_model
from updater.model.inference import InferenceModel
from updater.model.user_model import UserModel
from updater.runtime.deployment import Progress, WritableContext
from updater.runtime.threads import one_thread
from updater.training.profiles import Profiles, read_all
from updater.training.tuning.labelled_users import LabelledUsers, Labels
from updater.training.tuning.prompt_tuning import PromptTuner

COUNTS = (100, 300, 1_000)
LEAST = 5
"""Labels of the rarer class that a draw must have, or there is nothing to learn from."""
USERS_AT_A_TIME = 512
PLAIN, TUNED, NATIVE, WITH_ANSWER = "base", "tuned", "answers", "with_answer"
TRIED: dict[str, tuple[Penalty, ...]] = {PLAIN: PENALTIES, TUNED: PENALTIES, WITH_ANSWER: PENALTIES_BY_PART}


def run_few_labels(context: WritableContext, progress: Progress) -> Json:
    """Mean AUC over the tasks that may be trained on, of plain and tuned embeddings for each number of labels.

    `answers` needs no label: what the model itself says of the question's first answer (`InferenceModel.answers`), in
    whichever direction is the task's.
    """
    settings = context.settings
    model = load_model(train_alone(settings, context.now))
    with open_events(context, progress) as events:
        found = load_evaluation_set(events, "validation")
    profiles = read_all(context, found.days, progress)
    tasks = [task for task in found.tasks if not task.unseen]
    curves: dict[tuple[int, str], list[Floats]] = defaultdict(list)
    kept: dict[int, int] = defaultdict(int)
    native: list[float] = []
    tuner, users = PromptTuner(model, profiles, settings.tuning), LabelledUsers(model, profiles)
    serving = InferenceModel(model)
    with one_thread():
        for done, task in enumerate(tasks):
            asked, rows = question(settings, task).query, found.rows[task.name]
            tested = labels_of(rows, rows.test, profiles, asked)
            known = labels_of(rows, rows.train, profiles, asked)
            answered = answers_of(serving, profiles, tested)
            native.append(native_auc(answered, tested))
            for count in COUNTS:
                learned = draw(known, count, settings.training.seed)
                if np.bincount(learned.classes, minlength=2).min() < LEAST:
                    continue
                kept[count] += tuner.tune(task.name, learned, settings.training.seed).kept
                plain = [(embedded(users, None, model, part),) for part in (learned, tested)]
                tuned = [(embedded(users, task.name, model, part),) for part in (learned, tested)]
                answers = answers_of(serving, profiles, learned), answered
                beside = [(*parts, answer[:, None]) for parts, answer in zip(plain, answers, strict=True)]
                for name, (fitted, scored) in {PLAIN: plain, TUNED: tuned, WITH_ANSWER: beside}.items():
                    curves[count, name].append(probed(learned, fitted, tested, scored, TRIED[name]))
            progress("tasks with few labels", done + 1, len(tasks))
    by_count = {str(count): _compared({name: curves[count, name] for name in TRIED}) for count in COUNTS}
    for count in COUNTS:
        by_count[str(count)] |= {"tasks": len(curves[count, PLAIN]), "kept": kept[count]}
    return {"tasks": len(tasks), NATIVE: round(float(np.mean(native)), 4), "labels": by_count}


def labels_of(rows: TaskRows, part: npt.NDArray[np.bool_], profiles: Mapping[date, Profiles], asked: str) -> Labels:
    """A part of a task's rows as the tuner takes them, without users who have no events at their anchor."""
    places = {day: {user: row for row, user in enumerate(one.users.tolist())} for day, one in profiles.items()}
    chosen = np.flatnonzero(part)
    anchors = rows.table["anchor"].to_pylist()
    found = [(anchors[i], places[anchors[i]].get(str(rows.user[i])), int(rows.label[i])) for i in chosen]
    known = [(anchor, row, label) for anchor, row, label in found if row is not None]
    return Labels(
        [anchor for anchor, _, _ in known],
        np.array([row for _, row, _ in known], dtype=np.int64),
        [asked] * len(known),
        np.array([label for _, _, label in known], dtype=np.int64),
    )


def draw(labels: Labels, count: int, seed: int) -> Labels:
    """So many of them; more are a superset of fewer."""
    order = np.random.default_rng(seed).permutation(len(labels.rows))
    return labels.take(order[:count])


def embedded(users: LabelledUsers, scenario: str | None, model: UserModel, labels: Labels) -> Floats:
    """Embeddings of the labelled rows under a scenario's prompt, or under the plain question: (rows, E)."""
    shift = model.question_shifts[scenario] if scenario and scenario in model.question_shifts else None
    prompt = model.soft_prompts[scenario] if scenario and scenario in model.soft_prompts else None
    found: Floats = users.embed_all(prompt, shift, labels, USERS_AT_A_TIME).detach().double().numpy()
    return found


def probed(
    learned: Labels, fitted: Sequence[Floats], tested: Labels, scored: Sequence[Floats], penalties: Sequence[Penalty]
) -> Floats:
    """AUC on the tested rows of probes fitted to the learned ones, one for each penalty.

    Args:
        learned: labels that probes are fitted to.
        fitted: parts of the features of their rows, each (rows, columns).
        tested: labels that are scored.
        scored: the same parts of the features of their rows.
        penalties: what is tried.
    """
    features, label = np.concatenate(fitted, axis=1), learned.classes.astype(bool)
    scorers = logistic_path(features, label, penalties, [part.shape[1] for part in fitted])
    rows = np.concatenate(scored, axis=1)
    return np.array([auc_and_ks(tested.classes.astype(bool), score(rows))[0] for score in scorers])


def answers_of(serving: InferenceModel, profiles: Mapping[date, Profiles], labels: Labels) -> Floats:
    """The model's own first answer for each labelled row, without a label: log odds less those among all users."""
    scores = np.empty(len(labels.rows))
    anchors = np.array(labels.anchors, dtype="datetime64[D]")
    for day in sorted(set(labels.anchors)):
        at = np.flatnonzero(anchors == np.datetime64(day))
        for group in np.array_split(at, -(-len(at) // USERS_AT_A_TIME)):
            answers = serving.answers(profiles[day].batch(labels.rows[group]), labels.questions[:1])
            scores[group] = answers[:, 0, 0]
    return scores


def native_auc(answered: Floats, tested: Labels) -> float:
    """AUC of the answers alone."""
    auc = auc_and_ks(tested.classes.astype(bool), answered)[0]
    return max(auc, 1 - auc)


def _compared(curves: Mapping[str, Sequence[Floats]]) -> Json:
    """Means over tasks at the penalty that is best for each, and what is gained over the plain question."""
    best = {name: int(np.mean(found, axis=0).argmax()) for name, found in curves.items()}
    aucs = {name: np.array(found)[:, best[name]] for name, found in curves.items()}
    made: Json = {name: round(float(found.mean()), 4) for name, found in aucs.items()}
    for name in (TUNED, WITH_ANSWER):
        gain = aucs[name] - aucs[PLAIN]
        made[f"{name}-{PLAIN}"] = [round(float(gain.mean()), 5), round(float(gain.std(ddof=1) / len(gain) ** 0.5), 5)]
    return made | {"inverse_penalties": {name: TRIED[name][at].inverse for name, at in best.items()}}
