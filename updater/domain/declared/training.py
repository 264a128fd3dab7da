"""How a model is trained: which days it learns from, and with which numbers."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Literal

from annotated_types import Interval

from updater.domain.values import AtLeastOne, Checked, Days, NotNegative, Number, Positive, PositiveShare, Seed, Share
from updater.errors import ConfigError

LearningRate = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Training(Checked, table="training"):
    """Days are landing days. Nothing after `until` is read, so that later days stay unseen for evaluation."""

    objective: Literal["dense", "paper"] = "dense"
    """What is learned from: answers counted from the log for every profile, or the paper's question-answer pairs."""
    first_anchor: date | None = None
    """Last day of the oldest profiles, `YYYY-MM-DD`; if left out, the first day with a full buffer before it."""
    until: date | None = None
    """Last day that training may read, the futures included, `YYYY-MM-DD`; if left out, the last landed one."""
    valid_from: date | None = None
    """First anchor day of the validation split, `YYYY-MM-DD`; futures of the training split end before it. The
    loss on this day's profiles chooses the weights; if left out, the loss on a tenth of the users, who then are not
    trained on."""
    test_from: date | None = None
    """First anchor day of the test split, `YYYY-MM-DD`; futures of the validation split end before it."""
    anchor_every_days: Days = 7
    """Days between two anchors."""
    future_days: Days = 28
    """Length of the future that questions are about, in days."""
    users_share: PositiveShare = 1.0
    """Share of the users (above 0, to 1) that training data is made of, chosen by a hash, always the same ones."""
    topic_categories: Number = 150
    """Categories, the most frequent first, that get topics of their own."""
    focus_categories: Number = 240
    """Categories, the most frequent first, that questions about the future may name."""
    never_asked: tuple[str, ...] = ()
    """Categories, as `modality:category`, that no question about the future names: they show what a new one does."""
    steps: AtLeastOne = 1800
    """Optimizer steps; of the dense objective those without the backbone's layers."""
    users_per_step: AtLeastOne = 64
    """Users of a step, over all processes."""
    layers_steps: Number = 1000
    """Further steps of the dense objective, with the backbone's layers; 0 to leave them out."""
    layers_users_per_step: AtLeastOne = 32
    """Users of such a step, over all processes."""
    layers_learning_rate: LearningRate = 1.2e-3
    """Peak of their schedule."""
    questions_per_step: AtLeastOne = 24
    """Questions of a step of the dense objective, the same for all its users."""
    counted_questions: Number = 17
    """Those of them that ask on how many days a category occurs; the others ask about amounts, kinds and changes."""
    validate_every: AtLeastOne = 100
    """Steps between two looks at the validation loss."""
    pairs_per_user: AtLeastOne = 12
    """Question-answer pairs of each user in a step; every other pair of the step is a negative."""
    future_share: Share = 0.7
    """Share of pairs about the future, the rest is about the profile (0 to 1)."""
    predicted_pairs: Number = 1
    """Pairs of each user whose answers are predicted token by token as well."""
    learning_rate: LearningRate = 2e-3
    """Peak of the schedule: linear warm-up, then cosine decay to 0."""
    warmup_steps: Number = 30
    """Steps with a rising learning rate."""
    weight_decay: NotNegative = 0.02
    """Of AdamW, on matrices."""
    clip_norm: Positive = 1.0
    """Largest norm of a step's gradient."""
    temperature: Positive = 0.07
    """Divides the cosines of the contrastive loss."""
    margin: Annotated[float, Interval(ge=0, le=2)] = 0.1
    """A negative that lies above the positive by more is left out."""
    mask_after: Share = 0.3
    """Share of the steps (0 to 1) without that mask: weights that know nothing yet would mask everything."""
    variant: Literal["paper", "demo"] = "paper"
    """Which negatives and masks: the paper's or the published demo's."""
    contrastive_weight: NotNegative = 1.0
    """Weight of the contrastive loss."""
    next_token_weight: NotNegative = 1.0
    """Weight of the next-token loss."""
    max_question_tokens: AtLeastOne = 64
    """Longer questions are cut."""
    max_answer_tokens: AtLeastOne = 72
    """Longer answers are cut."""
    lora_rank: AtLeastOne = 64
    """Rank of the adapters of a pretrained backbone; the tiny one is trained in full."""
    lora_alpha: AtLeastOne = 32
    """Scale of the adapters."""
    lora_dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    """Dropout in the adapters."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 products; auto: for a pretrained backbone, if the processor has the instructions."""
    processes: Annotated[int, Interval(ge=1, le=4096)] = 1
    """Processes that train together, each on its share of a step's users."""
    save_every: AtLeastOne = 200
    """Steps between two checkpoints that training can resume from."""
    seed: Seed = 7
    """Decides the order of the data and dropout; the initial weights have the model's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ["users_per_step", *(["layers_users_per_step"] if self.objective == "dense" else [])]
        for name in sizes:
            if getattr(self, name) % self.processes:
                raise ConfigError(
                    f"training.{name} is {getattr(self, name)}, which {self.processes} processes cannot share evenly; "
                    "use a multiple."
                )
        if self.counted_questions > self.questions_per_step:
            raise ConfigError(
                f"training.counted_questions is {self.counted_questions}, more than training.questions_per_step, which "
                f"is {self.questions_per_step}; lower it."
            )

    def anchors(self, first: date, last: date) -> list[date]:
        """Anchor days from `first` on whose futures end by `last`."""
        days, anchor = [], first
        while anchor + timedelta(days=self.future_days) <= last:
            days.append(anchor)
            anchor += timedelta(days=self.anchor_every_days)
        return days


@dataclass(frozen=True, kw_only=True)
class Tuning(Checked, table="tuning"):
    """Soft prompt tuning (arXiv 2602.14492, section on cluster-based prompt tuning)."""

    tokens: AtLeastOne = 6
    """Learned tokens of a scenario."""
    steps: AtLeastOne = 500
    """Optimizer steps of each scenario."""
    users_per_step: AtLeastOne = 64
    """Labelled users of a step."""
    labels: Number = 0
    """Labels of each scenario that are learned from, chosen by the seed; 0 for all."""
    learning_rate: LearningRate = 1e-2
    """Peak of a cosine schedule."""
    temperature: Positive = 0.07
    """Divides the inner products with the prototypes."""
    anchors: tuple[date, ...] = field(default=())
    """Anchor days whose labels are learned from, `YYYY-MM-DD`; if left out, the evaluation's training anchors."""
