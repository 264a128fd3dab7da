"""Inputs of the paper layout's adapters: standardized, and blind to "now"."""

import numpy as np

from tests.model_factories import DAY, make_batch, make_config
from updater.model.layouts.paper_features import (
    event_features,
    newest_event,
    newest_rows,
    summary_dim,
    summary_features,
)

CONFIG = make_config(layout="paper")
BATCH = make_batch(CONFIG, empty=0.0)
BILL, SEARCH = CONFIG.modalities[:2]
TEXT, STATISTICS = CONFIG.text_dim, 6


def test_standardizing_commutes_with_the_mean() -> None:
    part, newest_B = BATCH.modalities[0], newest_event(BATCH)
    rows = np.arange(len(part.times_A))
    features = event_features(CONFIG, BILL, part, rows, newest_B)
    summaries = summary_features(CONFIG, BILL, part, newest_B)
    assert summaries.shape == (5, summary_dim(CONFIG))
    for user in range(5):
        mean = features[part.offsets_B1[user] : part.offsets_B1[user + 1]].mean(0)
        np.testing.assert_allclose(summaries[user, :TEXT], mean[:TEXT], atol=1e-5)
        np.testing.assert_allclose(summaries[user, TEXT + STATISTICS :], mean[TEXT : TEXT + 2], atol=1e-5)


def test_the_newest_events() -> None:
    part = BATCH.modalities[0]
    rows, counts = newest_rows(part, 3)
    assert counts.tolist() == np.minimum(part.counts_B, 3).tolist()
    expected = [np.arange(*part.offsets_B1[user : user + 2])[-3:] for user in range(5)]
    np.testing.assert_array_equal(rows, np.concatenate(expected))


def test_time_features_are_age_clock_and_weekday() -> None:
    part = BATCH.modalities[0]
    thursday_six = 1_700_000_000 // (7 * DAY) * 7 * DAY + 6 * 3600
    times = np.full_like(part.times_A, thursday_six)
    part = type(part)(**{**vars(part), "times_A": times})
    features = event_features(CONFIG, BILL, part, np.arange(len(times)), np.full(5, thursday_six + DAY))
    np.testing.assert_allclose(features[:, -5], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(features[:, -4:-2], np.tile([1.0, 0.0], (len(times), 1)), atol=1e-6)
    angle = 2 * np.pi * 3 / 7
    np.testing.assert_allclose(features[:, -2:], np.tile([np.sin(angle), np.cos(angle)], (len(times), 1)), atol=1e-6)


def test_absent_modalities_have_no_features() -> None:
    batch = make_batch(CONFIG, empty=0.5)
    seen = set()
    for modality, part in zip(CONFIG.modalities, batch.modalities, strict=True):
        present = part.counts_B > 0
        np.testing.assert_array_equal(
            summary_features(CONFIG, modality, part, newest_event(batch)).any(axis=1), present
        )
        seen |= set(present.tolist())
    assert seen == {True, False}


def test_statistics_follow_counts_and_gaps() -> None:
    part, newest_B = BATCH.modalities[1], newest_event(BATCH)
    found = summary_features(CONFIG, SEARCH, part, newest_B)[:, TEXT : TEXT + STATISTICS]
    for user in range(5):
        times = part.times_A[slice(*part.offsets_B1[user : user + 2])]
        before_last, span = (times[-1] - times) / DAY, (times[-1] - times[0]) / DAY
        recent = [(before_last <= days).sum() for days in (7, 28)]
        expected = [len(times), *recent, span, span / max(len(times) - 1, 1), (newest_B[user] - times[-1]) / DAY]
        np.testing.assert_allclose(np.expm1(found[user]), expected, rtol=1e-4, atol=1e-6)


def test_a_user_is_read_alike_in_any_company() -> None:
    for modality, part in zip(CONFIG.modalities, BATCH.modalities, strict=True):
        together = summary_features(CONFIG, modality, part, newest_event(BATCH))
        for user in range(5):
            alone = summary_features(CONFIG, modality, part.select(np.array([user])), newest_event(BATCH)[[user]])
            np.testing.assert_array_equal(alone[0], together[user])
