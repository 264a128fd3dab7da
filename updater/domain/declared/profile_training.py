"""How a language model is trained to keep textual profiles: on which days and users, and with which numbers."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from annotated_types import Interval

from updater.domain.values import AtLeastOne, Checked, Days, NotNegative, Number, Positive, Seed

LearningRate = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class ProfileTraining(Checked, table="profile_training"):
    """Days are landing days. Nothing after `until` is read."""

    model: str = "smollm2"
    """Packaged name (smollm2), directory or Hugging Face id of the causal language model that is trained."""
    until: date | None = None
    """Last day that is read, `YYYY-MM-DD`; if left out, the last landed one. The two stages before it are not trained
    on: the model is looked at there."""
    stage_days: Days = 7
    """Length of a stage: what one update of a profile takes in, and what it has to predict."""
    chains: AtLeastOne = 2
    """Chains of stages that are trained on, each begins a stage before the next."""
    users: AtLeastOne = 200
    """Users of each chain, chosen by a hash."""
    examine_users: AtLeastOne = 16
    """Held-out users by whom the model is examined before and after each phase, chosen by a hash."""
    supervised_steps: Number = 60
    """Optimizer steps of the supervised phase; 0 to leave it out."""
    texts_per_step: AtLeastOne = 4
    """Training texts of such a step."""
    supervised_learning_rate: LearningRate = 2e-4
    """Peak of its schedule: linear warm-up over a tenth of the steps, then cosine decay."""
    reinforced_steps: Number = 20
    """Optimizer steps of the phase with rewards; 0 to leave it out."""
    group: Annotated[int, Interval(ge=2, le=64)] = 4
    """Replies to one prompt, which are compared with each other."""
    prompts_per_step: AtLeastOne = 1
    """Prompts of such a step."""
    reinforced_learning_rate: LearningRate = 1e-5
    """Constant rate of that phase."""
    temperature: Positive = 1.0
    """At which these replies are drawn."""
    ungrounded_penalty: NotNegative = 0.5
    """Taken from the reward of a reply of whose clauses none is grounded in the log; less, if some are."""
    budget_penalty: NotNegative = 0.5
    """Taken from the reward of a text of twice the budget or more; less, if it is less over."""
    lora_rank: Number = 16
    """Rank of the adapters; 0 to train all weights."""
    max_prompt_tokens: AtLeastOne = 2048
    """Updates with a longer prompt are left out."""
    max_reply_tokens: AtLeastOne = 256
    """Longest reply."""
    save_every: AtLeastOne = 10
    """Steps between two checkpoints that training can resume from."""
    seed: Seed = 7
    """Decides the order of the texts, the adapters' initial weights and the drawn replies."""
