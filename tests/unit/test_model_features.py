"""Adapter inputs: standardized, and blind to "now"."""

import numpy as np

from tests.model_factories import DAY, make_batch, make_config
from updater.model.features import event_features, newest_event, summary_features

CONFIG = make_config()
BATCH = make_batch(CONFIG, empty=0.0)
TEXT, STATISTICS = CONFIG.text_dim, 6
TOPICS = np.array([[0.0, 1.5], [2.0, 0.0], [0.5, 0.5], [3.0, 7.0], [1.0, 1.0]])


def test_standardizing_commutes_with_the_mean() -> None:
    bill, part = CONFIG.modalities[0], BATCH.modalities[0]
    features = event_features(CONFIG, bill, part, newest_event(BATCH))[:, : TEXT + 2]
    summaries, _ = summary_features(CONFIG, bill, part, newest_event(BATCH), TOPICS)
    few = [user for user in range(5) if part.num_events_B[user] == np.diff(part.offsets_B1)[user]]
    assert few
    for user in few:
        mean = features[part.offsets_B1[user] : part.offsets_B1[user + 1]].mean(0)
        np.testing.assert_allclose(mean, summaries[user, : TEXT + 2], atol=1e-5)


def test_time_features_are_age_clock_and_weekday() -> None:
    bill, part = CONFIG.modalities[0], BATCH.modalities[0]
    thursday_six = 1_700_000_000 // (7 * DAY) * 7 * DAY + 6 * 3600
    times = np.full_like(part.times_N, thursday_six)
    part = type(part)(**{**vars(part), "times_N": times})
    features = event_features(CONFIG, bill, part, np.full(5, thursday_six + DAY))
    np.testing.assert_allclose(features[:, -5], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(features[:, -4:-2], np.tile([1.0, 0.0], (len(times), 1)), atol=1e-6)
    angle = 2 * np.pi * 3 / 7
    np.testing.assert_allclose(features[:, -2:], np.tile([np.sin(angle), np.cos(angle)], (len(times), 1)), atol=1e-6)


def test_absent_modalities_have_no_features() -> None:
    batch = make_batch(CONFIG, empty=0.5)
    seen = set()
    for modality, part in zip(CONFIG.modalities, batch.modalities, strict=True):
        summaries, present = summary_features(CONFIG, modality, part, newest_event(batch), TOPICS)
        np.testing.assert_array_equal(summaries.any(axis=1), present)
        seen |= set(present.tolist())
    assert seen == {True, False}


def test_statistics_follow_counts_and_gaps() -> None:
    search, part = CONFIG.modalities[1], BATCH.modalities[1]
    summaries, _ = summary_features(CONFIG, search, part, newest_event(BATCH), TOPICS)
    count, week, month, span, gap, behind = summaries[:, TEXT : TEXT + STATISTICS].T
    np.testing.assert_allclose(np.expm1(summaries[:, TEXT + STATISTICS :]), TOPICS, rtol=1e-5)
    days = (part.last_event_B - part.first_event_B) / DAY
    np.testing.assert_allclose(np.expm1(count), part.num_events_B, rtol=1e-5)
    np.testing.assert_allclose(np.expm1(np.stack([week, month], 1)), part.num_recent_BR, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.expm1(span), days, rtol=1e-4)
    np.testing.assert_allclose(np.expm1(gap), days / np.maximum(part.num_events_B - 1, 1), rtol=1e-4)
    np.testing.assert_allclose(np.expm1(behind), (newest_event(BATCH) - part.last_event_B) / DAY, rtol=1e-4, atol=1e-6)
