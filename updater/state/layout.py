"""Where everything lies below the state's root: every path is built here, and every path is read back here.

```
events/<modality>/ds=D/<digest>-<declaration>.parquet     events/<modality>/merged/…
changes/<modality>/ds=D/{changes.parquet,encoded.json}    with shards: shard-NNN-<name of an event or changes file>
rejected/<modality>/ds=D/rejected.parquet
texts/<encoder version>/<digest>.arrow
staged/ds=D/bucket-NNN/<digest>-<view>
summaries/ds=D/bucket-NNN[-gG].parquet                    summaries/{span,base}=A_B/…
offline/<view>/ds=D/bucket-NNN[-gG].parquet               offline/<view>/{span,base}=A_B/…
profiles/language_model/ds=D/bucket-NNN.parquet
models/v<N>/…   restatement/pending.parquet
training/…      training/llm/NN/<digest>.parquet
evaluation/…    evaluation/models/<digest>.json
```
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from updater.domain.bucket_file_names import file_name

_DAY: Final = "ds="
_REPLIES: Final = "llm"
SUMMARIES: Final = "summaries"
"""Name of the summaries among the views of a bucket's files."""
MODEL_MARK: Final = "config.json"
"""Name of the file without which a model is none."""


class StatePart(StrEnum):
    """Directories directly below the root, in the order in which a day writes them."""

    EVENTS = "events"
    REJECTED = "rejected"
    CHANGES = "changes"
    TEXTS = "texts"
    STAGED = "staged"
    SUMMARIES = "summaries"
    OFFLINE = "offline"
    PROFILES = "profiles"
    MODELS = "models"
    RESTATEMENT = "restatement"
    TRAINING = "training"
    EVALUATION = "evaluation"


class Erasure(StrEnum):
    """How an erased user leaves the files of a part."""

    NO_USERS = "no users"
    """The files name no user."""
    REPOINTED = "repointed"
    """The ledger names the new file before the old one goes."""
    REWRITTEN = "rewritten"
    """Rewritten in place; nothing names the file by its content."""
    REMOVED = "removed"
    """Removed; whoever wrote it writes it again."""


ERASURE: Final[Mapping[str, Erasure]] = {
    StatePart.EVENTS: Erasure.REPOINTED,
    StatePart.REJECTED: Erasure.REWRITTEN,
    StatePart.CHANGES: Erasure.REWRITTEN,
    StatePart.TEXTS: Erasure.NO_USERS,
    StatePart.STAGED: Erasure.REMOVED,
    StatePart.SUMMARIES: Erasure.REPOINTED,
    StatePart.OFFLINE: Erasure.REPOINTED,
    StatePart.PROFILES: Erasure.REWRITTEN,
    StatePart.MODELS: Erasure.NO_USERS,
    StatePart.RESTATEMENT: Erasure.REWRITTEN,
    StatePart.TRAINING: Erasure.REWRITTEN,
    StatePart.EVALUATION: Erasure.REWRITTEN,
}


@dataclass(frozen=True)
class StateLayout:
    """Names below one state.

    Args:
        root: path or URL of the state.
    """

    root: str

    def path(self, *names: str) -> str:
        """Path of `names` below the root; the root itself without any."""
        return "/".join((self.root.rstrip("/"), *names))

    def relative(self, path: str) -> str:
        """`path`, which lies below the root, without it."""
        return path.removeprefix(self.root.rstrip("/")).lstrip("/")

    def stays_empty(self, path: str) -> bool:
        """Whether a file stays that has lost its last row. One that is there only if it has rows does not: rejected
        rows, and what a language model replied about users.
        """
        inside = self.relative(path)
        return not inside.startswith(
            (f"{StatePart.REJECTED}/", f"{StatePart.PROFILES}/", f"{StatePart.TRAINING}/{_REPLIES}/")
        )

    def part_of(self, path: str) -> str:
        """The first name of `path` below the root: a `StatePart`, or the name of a file that lies directly there."""
        return self.relative(path).partition("/")[0]

    def events(self, modality: str) -> str:
        """Directory of a modality's event files."""
        return self.path(StatePart.EVENTS, modality)

    def event_file(self, modality: str, ds: date, name: str) -> str:
        """An event file of landing day `ds` by its name in the ledger, which has a `/` if days were merged."""
        root = self.events(modality)
        return f"{root}/{name}" if "/" in name else f"{root}/{_day(ds)}/{name}"

    def rejected_file(self, modality: str, ds: date) -> str:
        """Rejected rows of landing day `ds`."""
        return self.path(StatePart.REJECTED, modality, _day(ds), "rejected.parquet")

    def changes_file(self, modality: str, ds: date, name: str = "changes.parquet") -> str:
        """Who changed in the window of `ds`; of a shard by the `name` of its file."""
        return self.path(StatePart.CHANGES, modality, _day(ds), name)

    def encoded_file(self, modality: str, ds: date) -> str:
        """How many texts the window of `ds` had encoded."""
        return self.path(StatePart.CHANGES, modality, _day(ds), "encoded.json")

    def texts(self, encoder_version: str) -> str:
        """Directory of a text encoder's vectors."""
        return self.path(StatePart.TEXTS, encoder_version)

    def staged(self, ds: date) -> str:
        """What attempts at the window of `ds` made and no head has named yet."""
        return self.path(StatePart.STAGED, _day(ds))

    def staged_bucket(self, ds: date, bucket: int) -> str:
        """The same of one bucket."""
        return f"{self.staged(ds)}/bucket-{bucket:03d}"

    def summaries(self) -> str:
        """Directory of the summaries' bucket files."""
        return self.path(StatePart.SUMMARIES)

    def views(self) -> str:
        """Directory of the feature views' directories."""
        return self.path(StatePart.OFFLINE)

    def offline(self, view: str) -> str:
        """Directory of a feature view's bucket files."""
        return self.path(StatePart.OFFLINE, view)

    def bucket_files(self, view: str) -> str:
        """Directory of the bucket files of `view`: a feature view, or `SUMMARIES`."""
        return self.summaries() if view == SUMMARIES else self.offline(view)

    def bucket_file(self, view: str, ds: date, bucket: int, generation: int) -> str:
        """What a bucket published for the window of `ds`."""
        return f"{self.bucket_files(view)}/{_day(ds)}/{file_name(bucket, generation)}"

    def profile_replies(self, ds: date, bucket: int) -> str:
        """What a language model was asked about a bucket's users for the window of `ds`, and what it replied."""
        return self.path(StatePart.PROFILES, "language_model", _day(ds), f"bucket-{bucket:03d}.parquet")

    def models(self) -> str:
        """Directory of the model versions."""
        return self.path(StatePart.MODELS)

    def model(self, version: int) -> str:
        """Directory of a model version."""
        return self.path(StatePart.MODELS, f"v{version}")

    def model_mark(self, version: int) -> str:
        """The file of a model version that is put last and removed first: while it is there, so are the others."""
        return f"{self.model(version)}/{MODEL_MARK}"

    def restatement_plan(self) -> str:
        """The plan of a restatement that the ledger says is under way."""
        return self.path(StatePart.RESTATEMENT, "pending.parquet")

    def former_retired(self) -> str:
        """Where earlier releases noted what the ledger has in `ledger_retired`."""
        return self.path("maintenance", "retired.json")

    def training_run(self, recipe: str) -> str:
        """Checkpoints and metrics of a training run."""
        return self.path(StatePart.TRAINING, "runs", recipe)

    def trained_model(self, name: str) -> str:
        """Directory of a trained model that is no version yet."""
        return self.path(StatePart.TRAINING, "models", name)

    def fitted_model(self, recipe: str) -> str:
        """Directory of a model with fitted projections and no step of training: what a trained one is compared with."""
        return self.path(StatePart.TRAINING, "fitted", recipe)

    def prompts(self, recipe: str) -> str:
        """Directory of the soft prompts of a tuning."""
        return self.path(StatePart.TRAINING, "prompts", recipe)

    def training_data(self) -> str:
        """Directory of the question-answer pairs."""
        return self.path(StatePart.TRAINING, "useru")

    def generator_replies(self) -> str:
        """Directory of a language model's replies, each with the users it is about."""
        return self.path(StatePart.TRAINING, _REPLIES)

    def evaluation(self) -> str:
        """Directory of the evaluation's report."""
        return self.path(StatePart.EVALUATION)

    def model_evaluation(self, digest: str) -> str:
        """The newest report about the model with this digest, on the test anchors; it names no user."""
        return self.path(StatePart.EVALUATION, "models", f"{digest[:16]}.json")

    def evaluated_embeddings(self, key: str) -> str:
        """Embeddings at an anchor, kept from one evaluation to the next."""
        return self.path(StatePart.EVALUATION, "embeddings", f"{key}.parquet")

    def fidelity(self, ds: date) -> str:
        """Directory of what was asked about the users of `ds`, and of the report."""
        return self.path(StatePart.EVALUATION, "fidelity", _day(ds))

    def candidate_fidelity(self, ds: date) -> str:
        """The same of a model that is to become live."""
        return self.path(StatePart.EVALUATION, "fidelity", "candidate", _day(ds))

    def fidelity_questions(self, ds: date) -> str:
        """Questions about users as of the end of day `ds`."""
        return self.path(StatePart.EVALUATION, "fidelity", _day(ds), "questions.parquet")

    def fidelity_days(self) -> str:
        """Directory of what was asked about the users of all days; `fidelity_day` reads its names."""
        return self.path(StatePart.EVALUATION, "fidelity")

    @staticmethod
    def fidelity_day(name: str) -> date | None:
        """The day of a name in `fidelity_days`; None if it is that of something else."""
        return date.fromisoformat(name.removeprefix(_DAY)) if name.startswith(_DAY) else None

    def fidelity_waiting(self, ds: date) -> str:
        """Questions about what users of `ds` do next, until that is known."""
        return self.path(StatePart.EVALUATION, "fidelity", _day(ds), "waiting.parquet")

    def fidelity_actions(self, ds: date) -> str:
        """Directory of the same once it is known, and of the report on it."""
        return self.path(StatePart.EVALUATION, "fidelity", _day(ds), "actions")

    def fidelity_action_questions(self, ds: date) -> str:
        """These questions with their answers."""
        return f"{self.fidelity_actions(ds)}/questions.parquet"

    def feature_store(self) -> str:
        """The file with which Feast opens this state."""
        return self.path("feature_store.yaml")


def _day(ds: date) -> str:
    return f"{_DAY}{ds.isoformat()}"
