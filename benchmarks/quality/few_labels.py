"""What a soft prompt gains where labels are few, and what the model answers without any.

Labels of the training anchors are drawn, a prompt is tuned on them, a probe is fitted to the same ones under the plain
question and under the prompt, and both score the validation anchor. A prompt that `PromptTuner` does not keep leaves
the plain question's embedding, as it does for `updater model tune`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from benchmarks.quality.seeds import train_alone
from updater.evaluation.evaluation_set import load_evaluation_set
from updater.evaluation.metrics import Floats, auc_and_ks
from updater.evaluation.probe import logistic_path
from updater.evaluation.report import Json
from updater.evaluation.scoring import PENALTIES, TaskRows
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
PLAIN, TUNED, NATIVE = "base", "tuned", "answers"


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
    with one_thread():
        for done, task in enumerate(tasks):
            asked, rows = question(settings, task).query, found.rows[task.name]
            tested = labels_of(rows, rows.test, profiles, asked)
            known = labels_of(rows, rows.train, profiles, asked)
            native.append(native_auc(model, profiles, tested))
            for count in COUNTS:
                learned = draw(known, count, settings.training.seed)
                if np.bincount(learned.classes, minlength=2).min() < LEAST:
                    continue
                kept[count] += tuner.tune(task.name, learned, settings.training.seed).kept
                curves[count, PLAIN].append(probed(users, None, model, learned, tested))
                curves[count, TUNED].append(probed(users, task.name, model, learned, tested))
            progress("tasks with few labels", done + 1, len(tasks))
    by_count = {str(count): _compared(curves[count, PLAIN], curves[count, TUNED]) for count in COUNTS}
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


def probed(users: LabelledUsers, scenario: str | None, model: UserModel, learned: Labels, tested: Labels) -> Floats:
    """AUC on the tested rows of probes fitted to the learned ones, one for each penalty."""
    shift = model.question_shifts[scenario] if scenario and scenario in model.question_shifts else None
    prompt = model.soft_prompts[scenario] if scenario and scenario in model.soft_prompts else None
    parts = [
        users.embed_all(prompt, shift, one, USERS_AT_A_TIME).detach().double().numpy() for one in (learned, tested)
    ]
    scorers = logistic_path(parts[0], learned.classes.astype(bool), PENALTIES)
    return np.array([auc_and_ks(tested.classes.astype(bool), score(parts[1]))[0] for score in scorers])


def native_auc(model: UserModel, profiles: Mapping[date, Profiles], tested: Labels) -> float:
    """AUC of the model's own first answer, without a label."""
    serving, scores = InferenceModel(model), np.empty(len(tested.rows))
    anchors = np.array(tested.anchors, dtype="datetime64[D]")
    for day in sorted(set(tested.anchors)):
        at = np.flatnonzero(anchors == np.datetime64(day))
        for group in np.array_split(at, -(-len(at) // USERS_AT_A_TIME)):
            answers = serving.answers(profiles[day].batch(tested.rows[group]), tested.questions[:1])
            scores[group] = answers[:, 0, 0]
    auc = auc_and_ks(tested.classes.astype(bool), scores)[0]
    return max(auc, 1 - auc)


def _compared(plain: Sequence[Floats], tuned: Sequence[Floats]) -> Json:
    """Means over tasks at the penalty that is best for each, and the mean difference with its error over tasks."""
    best = [int(np.mean(found, axis=0).argmax()) for found in (plain, tuned)]
    aucs = [np.array(found)[:, at] for found, at in zip((plain, tuned), best, strict=True)]
    gain = aucs[1] - aucs[0]
    return {
        PLAIN: round(float(aucs[0].mean()), 4),
        TUNED: round(float(aucs[1].mean()), 4),
        "difference": round(float(gain.mean()), 5),
        "difference_se": round(float(gain.std(ddof=1) / len(gain) ** 0.5), 5),
        "inverse_penalties": [PENALTIES[at].inverse for at in best],
    }
