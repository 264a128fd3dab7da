"""One profile in other hands: two readers, another modality's choices, other negatives, many updates or one look."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from hashlib import md5
from typing import Any

import numpy as np

from updater.domain.columns import PROFILE_VIEW
from updater.fidelity.llm.answers import lettered
from updater.lake import partitions
from updater.language_models.causal import LanguageModel, open_language_model
from updater.model.text_encoder import load_text_encoder
from updater.pipeline.daily.bucket_values import read_buffer
from updater.pipeline.profile_utility import Asked, Question, ask_about
from updater.profile.clustered import Share, discounted_share
from updater.profile.profile import Profiles
from updater.profile.utility import named_values, rejected_value, wins
from updater.runtime.deployment import Context, Progress
from updater.runtime.session import Session
from updater.users.profiles import profiles_of

NUM_READ = 400
"""Questions that the rules' reader and the sentence encoder are asked."""
NUM_ASKED = 160
"""How many of them a causal language model is asked: each in both orders, with a profile and without."""
QUESTIONS_PER_PASS = 8
SHARED_VALUES = ("item", "coupon", "redemption")
"""Modalities whose categories have the same names."""
NEGATIVES = ("popular", "uniform", "own")
ABOVE = "language model: with less without"
UNKNOWN = "Nothing is known of this household."

Named = Sequence[Mapping[tuple[str, str], float]]


def measure_transfer(
    context: Context, streamed: Context, days: Sequence[date], num_users: int, model: str | None, progress: Progress
) -> dict[str, Any]:
    """Everything that the report has.

    Args:
        context: a state whose days are asked about.
        streamed: a state whose published texts are compared with a rebuild.
        days: that are asked about.
        num_users: of each day.
        model: a causal language model that reads as well; None leaves it out.
        progress: told of questions.
    """
    with Session(context) as session:
        asked = [ask_about(context, session, context.window(ds), num_users) for ds in days]
        made = [_profiles(context, one) for one in asked]
        told = [_named(profiles) for profiles in made]
        return {
            "readers": _readers(
                context, asked[0], made[0], told[0], open_language_model(model) if model else None, progress
            ),
            "modalities": _modalities(context, asked, told),
            "negatives": _negatives(asked, told),
            "streamed": _streamed(streamed),
        }


def _profiles(context: Context, asked: Asked, source: str = "") -> Profiles:
    """Profiles of all users, of one modality alone if there is a `source`."""
    events = [one for one in asked.events if source in ("", one.modality.name)]
    return profiles_of(events, np.arange(len(asked.users)), context.settings.profile)


def _named(made: Profiles) -> Named:
    return [named_values(profile, made.facets) for profile in made.profiles]


def _rules(asked: Asked, named: Named, one: Question) -> float:
    old = asked.counted[one.part]
    said = named[one.user]
    return wins(*(said.get((old.modality, value), 0.0) for value in (one.value, old.values[one.rejected])))


def _popularity(asked: Asked, one: Question) -> float:
    counts = np.bincount(asked.counted[one.part].value_N, minlength=len(asked.counted[one.part].values))
    return wins(counts[one.place] if one.place >= 0 else 0, counts[one.rejected])


def _readers(
    context: Context, asked: Asked, made: Profiles, named: Named, model: LanguageModel | None, progress: Progress
) -> dict[str, Any]:
    """The same texts and questions for the rules' reader, a sentence encoder and perhaps a causal language model; those
    of which the text says something, chosen by a hash.
    """
    decided = [one for one in asked.questions if _rules(asked, named, one) != 0.5]
    chosen = sorted(decided, key=lambda one: md5(one.name.encode(), usedforsecurity=False).digest())[:NUM_READ]
    texts = [made.profiles[one.user].text for one in chosen]
    users = [asked.users[one.user] for one in chosen]
    rules = np.array([_rules(asked, named, one) for one in chosen])
    popularity = np.array([_popularity(asked, one) for one in chosen])
    near = _nearness(context, asked, chosen, texts)
    answers = {"rules": rules, "sentence encoder": near, "popularity": popularity}
    answers |= {"rules less popularity": rules - popularity, "sentence encoder less popularity": near - popularity}
    reads: dict[str, Any] | None = None
    if model:
        some = chosen[:NUM_ASKED]
        with_text, first_letter = _choices(context, asked, some, texts[: len(some)], model, progress)
        without, _ = _choices(context, asked, some, [UNKNOWN] * len(some), model, progress)
        answers |= {"language model": with_text, "language model without the profile": without}
        answers[ABOVE] = with_text - without
        reads = {"questions": len(some), "first_letter": first_letter}
        reads["agreement_with_rules"] = _agreement(with_text, rules[: len(some)])
    shares = {name: _plain(discounted_share([users[: len(values)]], [values])) for name, values in answers.items()}
    if reads is not None:
        reads["can_read"] = can_read(shares[ABOVE])
    return {
        "encoder": context.settings.model.text_encoder,
        "model": model.name if model else None,
        "questions": len(chosen),
        "of": len(asked.questions),
        "shares": shares,
        "agreement": _agreement(near, rules),
        "language_model": reads,
    }


def _agreement(one: np.ndarray, other: np.ndarray) -> float | None:
    return round(float((one == other).mean()), 4) if len(one) else None


def can_read(above: Mapping[str, float | None] | None) -> bool:
    """Whether a reader has more right with a profile than without: two standard errors above nothing."""
    return bool(above and above["value"] is not None and above["error"] and above["value"] > 2 * above["error"])


def _nearness(context: Context, asked: Asked, questions: Sequence[Question], texts: Sequence[str]) -> np.ndarray:
    """What the frozen sentence encoder's choices are worth: the value whose vector is nearer to that of the text."""
    encoder = load_text_encoder(context.settings.model.text_encoder)
    own = [one.value for one in questions]
    others = [asked.counted[one.part].values[one.rejected] for one in questions]
    distinct = sorted({*texts, *own, *others})
    vectors = dict(zip(distinct, encoder.encode(distinct).astype(float), strict=True))
    pairs = zip(texts, own, others, strict=True)
    return np.array([wins(*(float(vectors[text] @ vectors[value]) for value in pair)) for text, *pair in pairs])


def _choices(
    context: Context,
    asked: Asked,
    questions: Sequence[Question],
    texts: Sequence[str],
    model: LanguageModel,
    progress: Progress,
) -> tuple[np.ndarray, float]:
    """What the language model's choices are worth; each question is asked in both orders, so that no letter decides.
    And the share of the prompts for which it prefers the first letter.
    """
    import torch

    letters, margins, first = model.letter_tokens(2), np.zeros(len(questions)), 0
    for swapped in (False, True):
        prompts = []
        for one, text in zip(questions, texts, strict=True):
            old = asked.counted[one.part]
            options = [one.value, old.values[one.rejected]]
            noun = context.settings.profile.noun(old.modality)
            question = f"Profile of a household: {text}\nWhich is next in what it has under {noun!r}?"
            prompts.append(model.encode(lettered(question, options[::-1] if swapped else options), 0))
        for start in range(0, len(prompts), QUESTIONS_PER_PASS):
            batch = prompts[start : start + QUESTIONS_PER_PASS]
            with torch.inference_mode():
                found = model.letter_log_probs(torch.zeros(len(batch), 0, model.width), batch, letters).numpy()
            difference = found[:, 0] - found[:, 1]
            first += int((difference > 0).sum())
            margins[start : start + len(batch)] += -difference if swapped else difference
            progress("reading with a language model", start, len(prompts))
    return (np.sign(margins) + 1) / 2, round(first / max(2 * len(questions), 1), 4)


def _modalities(context: Context, asked: Sequence[Asked], told: Sequence[Named]) -> list[dict[str, Any]]:
    """Texts of one modality alone, for choices in each: what they say for a value under whatever name."""
    rows = []
    for source in ("", *SHARED_VALUES):
        named = told if not source else [_named(_profiles(context, one, source)) for one in asked]
        by_value = [[_by_value(said) for said in of_day] for of_day in named]
        for target in SHARED_VALUES:

            def answer(day: int, one: Question, target: str = target, known: Any = by_value) -> float | None:
                old, said = asked[day].counted[one.part], known[day][one.user]
                if old.modality != target:
                    return None
                return wins(said.get(one.value, 0.0), said.get(old.values[one.rejected], 0.0))

            rows.append({"source": source or "all", "target": target, **_share(asked, answer)})
    return rows


def _by_value(said: Mapping[tuple[str, str], float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for (_, value), much in said.items():
        found[value] = max(found.get(value, 0.0), much)
    return found


def _negatives(asked: Sequence[Asked], told: Sequence[Named]) -> list[dict[str, Any]]:
    """The same texts against other alternatives: what is frequent, any value, or what the user had as well."""
    counts = []
    for one in asked:
        own = [Counter(zip(c.user_N.tolist(), c.value_N.tolist(), strict=True)) for c in one.counted]
        popular = [np.bincount(c.value_N, minlength=len(c.values)).astype(np.int64) for c in one.counted]
        counts.append((own, popular))
    rows = []
    for kind in NEGATIVES:

        def answer(day: int, one: Question, of: str = "profile", kind: str = kind) -> float | None:
            own, popular = counts[day][0][one.part], counts[day][1][one.part]
            if kind == "own":
                weights = np.array([own[one.user, value] for value in range(len(popular))])
            else:
                weights = popular if kind == "popular" else np.ones(len(popular), np.int64)
            rejected = rejected_value(weights, one.place, one.name)
            if rejected is None:
                return None
            again = one._replace(rejected=rejected)
            return _rules(asked[day], told[day], again) if of == "profile" else _popularity(asked[day], again)

        rows.append(
            {
                "negatives": kind,
                **_share(asked, answer),
                "popularity": _share(asked, lambda day, one, answer=answer: answer(day, one, "popularity"))["share"],
            }
        )
    return rows


def _share(asked: Sequence[Asked], answer: Callable[[int, Question], float | None]) -> dict[str, Any]:
    users, values = [], []
    for day, one in enumerate(asked):
        found = [(one.users[q.user], answer(day, q)) for q in one.questions]
        known = [(user, value) for user, value in found if value is not None]
        users.append([user for user, _ in known])
        values.append(np.array([value for _, value in known]))
    return {"questions": sum(map(len, users)), "share": _plain(discounted_share(users, values))}


def _plain(share: Share | None) -> dict[str, float | None] | None:
    return None if share is None else {"value": share.value, "error": share.error}


def _streamed(context: Context) -> list[dict[str, Any]]:
    """Published texts after so many updates beside texts that are written at once, from the buffer as it is."""
    newest: dict[str, str] = {}
    updates: Counter[str] = Counter()
    watermark = context.ledger.watermark()
    assert watermark is not None, "the state has windows"
    for window in sorted(context.ledger.windows(), key=lambda one: one.ds):
        if window.completed_at is None:
            continue
        root = partitions.join(context.layout.offline(PROFILE_VIEW), f"ds={window.ds}")
        for path in sorted(partitions.list_files(root)):
            rows = partitions.read_table(path, ["user_id", "profile_text"])
            for user, text in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
                newest[user] = text
                updates[user] += 1
    users, buckets = sorted(newest), range(context.settings.buffer.num_buckets)
    with Session(context) as session:
        events = read_buffer(context, session, context.window(watermark), buckets, users, profiles=True).events
        rebuilt = profiles_of(events, np.arange(len(users)), context.settings.profile).profiles
    same = {user: profile.text == newest[user] for user, profile in zip(users, rebuilt, strict=True)}
    return [
        {
            "updates": number,
            "users": sum(updates[user] == number for user in users),
            "equal": sum(same[user] for user in users if updates[user] == number),
        }
        for number in sorted(set(updates.values()))
    ]
