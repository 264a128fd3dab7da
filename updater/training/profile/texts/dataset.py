"""The training texts as a table: what was asked, what is to be answered, and on what it was validated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from updater.domain.fingerprint import fingerprint
from updater.profile.language_model.check import Limits
from updater.profile.language_model.prompt import Question
from updater.training.profile.history.windows import Chain, Update
from updater.training.profile.texts.make import TrainingText, make_text, model_candidate, rule_candidates

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("as_of_day", pa.date32()),
        ("update", pa.int8()),
        ("prompt", pa.string()),
        ("reply", pa.string()),
        ("text", pa.string()),
        ("targets", pa.int8()),
        ("right", pa.int8()),
    ]
)
Ask = Callable[[str, Question], str]
"""Asks a language model for a candidate of a user's text."""


@dataclass(frozen=True, eq=False)
class TrainingUpdates:
    """Updates with a training text: the first one of a chain, or both."""

    updates: tuple[Update, ...]
    texts: tuple[TrainingText, ...]
    prompts: tuple[str, ...]
    chains: Mapping[int, Chain]
    """The chain that begins with an update, by the update's number."""
    num_chains: int
    """Those that there were before validation and lengths left some out."""

    def table(self) -> pa.Table:
        """`SCHEMA`, a row for each update."""
        rows = [
            {
                "user_id": update.user_id,
                "as_of_day": update.moment.histories.ds,
                "update": 1 if number in self.chains else 2,
                "prompt": prompt,
                "reply": text.reply,
                "text": text.candidate.text,
                "targets": text.targets,
                "right": text.right,
            }
            for number, (update, text, prompt) in enumerate(zip(self.updates, self.texts, self.prompts, strict=True))
        ]
        return pa.Table.from_pylist(rows, SCHEMA)

    @property
    def digest(self) -> str:
        """Digest of all that is learned from."""
        events = [update.events for update in self.updates]
        return fingerprint(self.prompts, [text.reply for text in self.texts], repr(events))


def make_training_updates(
    chains: Sequence[Chain],
    limits: Limits,
    prompt_of: Callable[[Question], str],
    fits: Callable[[Update], bool],
    ask: Ask | None = None,
) -> TrainingUpdates:
    """Generate, validate and merge the texts of all chains; one without a text for its first update is left out.

    Args:
        chains: of users who are trained on.
        limits: what texts may have.
        prompt_of: what the model is asked.
        fits: whether an update can be asked: there is something to say, and the prompt is short enough.
        ask: where a language model's candidates come from; None for those by rules alone.
    """
    found: list[tuple[Update, TrainingText, str]] = []
    begins: dict[int, Chain] = {}
    for chain in chains:
        made = list(_texts(chain, limits, prompt_of, fits, ask))
        if made:
            begins[len(found)] = chain
            found += made
    updates, texts, prompts = zip(*found, strict=True) if found else ((), (), ())
    return TrainingUpdates(updates, texts, prompts, begins, len(chains))


def _texts(
    chain: Chain, limits: Limits, prompt_of: Callable[[Question], str], fits: Callable[[Update], bool], ask: Ask | None
) -> Iterator[tuple[Update, TrainingText, str]]:
    """The training texts of a chain's updates, up to the first one that has none."""
    update = chain.first
    for is_last in (False, True):
        if not fits(update):
            return
        candidates = rule_candidates(update)
        if ask is not None:
            candidates += model_candidate(ask(update.user_id, update.question))
        text = make_text(update, candidates, limits)
        if text is None:
            return
        yield update, text, prompt_of(update.question)
        if not is_last:
            update = chain.second(text.candidate)
