"""Counts per topic: of all events of the window, the same whoever else is in the batch, and told by the embedding."""

import dataclasses

import numpy as np
import torch

from tests.model_factories import QUERIES, make_batch, make_config, make_model
from updater.model.batch import UserBatch
from updater.model.event_topics import EventTopics, topic_counts
from updater.model.user_prefix import run_module

KINDS = np.eye(6, dtype=np.float32)[:4]
"""Four texts that have nothing in common."""


def fitted(num_topics: int = 4) -> EventTopics:
    topics = EventTopics(6, num_topics)
    near = np.concatenate([KINDS, KINDS + 0.1]) / np.linalg.norm(KINDS[0] + 0.1)
    topics.fit(near.astype(np.float32), np.array([1, 2, 3, 4, 5, 6, 7, 8]))
    return topics


def test_like_texts_share_a_topic_and_others_have_their_own() -> None:
    shares = fitted()(torch.from_numpy(KINDS))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    assert shares.max(dim=1).values.min() > 0.99
    assert len(set(shares.argmax(dim=1).tolist())) == 4


def test_topics_beyond_the_texts_are_nobodys() -> None:
    shares = fitted(7)(torch.from_numpy(KINDS + 0.1))
    assert len(set(shares.argmax(dim=1).tolist())) == 4


def test_equal_texts_give_equal_centres() -> None:
    torch.testing.assert_close(fitted().centres_KX, fitted().centres_KX, rtol=0, atol=0)


def test_a_users_counts_are_those_of_the_whole_window() -> None:
    config = make_config()
    topics, part = EventTopics(config.text_dim, 5), make_batch(config, num_users=6).modalities[0]
    counts = topic_counts(topics, part, run_module)
    assert (part.num_events_B > config.modalities[0].max_events).any()
    np.testing.assert_allclose(counts.sum(axis=1), part.num_events_B, rtol=1e-5)
    shares = topics(torch.from_numpy(part.texts_TX)).numpy()
    for user, (start, end) in enumerate(zip(part.text_offsets_B1, part.text_offsets_B1[1:], strict=False)):
        np.testing.assert_allclose(counts[user], shares[part.text_rows_A[start:end]].sum(axis=0), rtol=1e-5, atol=1e-6)


def test_an_event_beyond_the_newest_ones_is_told() -> None:
    model = make_model()
    batch = make_batch(model.config, num_users=6, empty=0.0)
    part = batch.modalities[0]
    user = int(np.argmax(part.num_events_B))
    assert part.num_events_B[user] > model.config.modalities[0].max_events
    texts = part.texts_TX.copy()
    oldest = part.text_rows_A[part.text_offsets_B1[user]]
    texts[oldest] = -texts[oldest]
    changed = UserBatch((dataclasses.replace(part, texts_TX=texts), *batch.modalities[1:]))
    moved = np.abs(model.embed(changed, QUERIES) - model.embed(batch, QUERIES)).max(axis=(1, 2))
    assert moved[user] > 1e-4
