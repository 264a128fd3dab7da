"""The benchmark of the textual profile on a small state: other readers, other choices, many updates; its page."""

from datetime import date, timedelta

import pytest

from benchmarks.text_profile import transfer
from benchmarks.text_profile.__main__ import HERE, read, tables
from benchmarks.text_profile.auc import profile_texts
from benchmarks.text_profile.cost import summary
from benchmarks.text_profile.page import render
from tests.deployment import Deployment
from tests.factories import bill, land_rows, search
from updater.domain.columns import PROFILE_VIEW
from updater.runtime.session import Session

README = HERE / "README.md"
DAYS = [date(2024, 5, 1) + timedelta(days=number) for number in range(3)]
USERS = {"ann": "milk", "bob": "milk", "cat": "tea", "dan": "tea"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everybody buys and searches for the one thing that they like, every day."""
    modalities = [
        {"name": "bill", "text": "at {merchant}", "category": "category", "max_events": 2},
        {"name": "search", "text": "{query}", "max_events": 2},
    ]
    made = Deployment.create(tmp_path_factory.mktemp("transfer"), modalities=modalities, profile={"enabled": True})
    for ds in DAYS:
        times = [f"{ds} {hour}:00:00" for hour in (10, 11)]
        rows = [(user, at, liked) for user, liked in USERS.items() for at in times]
        land_rows(made.lake, "bill", ds, [bill(user, f"{user}{at}", at, category=liked) for user, at, liked in rows])
        land_rows(made.lake, "search", ds, [search(user, f"{user}{at}", at, query=liked) for user, at, liked in rows])
    made.run(DAYS)
    return made


class SaysA:
    """Stands for a language model that reads nothing and always prefers the letter A."""

    name, width = "a model", 4

    def __init__(self):
        self.read = []

    def letter_tokens(self, num_letters):
        return [[letter] for letter in range(num_letters)]

    def encode(self, content, num_soft):
        self.read.append(content)
        return [len(self.read)]

    def letter_log_probs(self, soft, prompts, letters):
        import torch

        return torch.tensor([[-0.1, -2.0]] * len(prompts))


def test_texts_in_other_hands(made, monkeypatch):
    model = SaysA()
    monkeypatch.setattr(transfer, "open_language_model", lambda name: model)
    monkeypatch.setattr(transfer, "SHARED_VALUES", ("bill", "search"))
    found = transfer.measure_transfer(made.context, made.context, DAYS[1:2], 10, "a model", lambda *_: None)

    # Eight bills and eight searches, each of what its user likes; only one other value can be rejected.
    readers = found["readers"]
    assert (readers["questions"], readers["of"]) == (16, 16)
    assert readers["shares"]["rules"]["value"] == 1
    assert 0 <= readers["shares"]["sentence encoder"]["value"] <= 1
    # Who prefers a letter and is asked in both orders says nothing, with the text and without it.
    assert readers["shares"]["language model"]["value"] == 0.5
    assert readers["shares"]["language model: with less without"]["value"] == 0
    found_of_model = {"questions": 16, "first_letter": 1.0, "agreement_with_rules": 0.0, "can_read": False}
    assert readers["language_model"] == found_of_model
    assert sum(transfer.UNKNOWN in content for content in model.read) == len(model.read) / 2
    # What is bought is what is searched for, so a text of either tells both.
    assert {(one["source"], one["target"]): one["share"]["value"] for one in found["modalities"]} == {
        (source, target): 1.0 for source in ("all", "bill", "search") for target in ("bill", "search")
    }
    # Nobody has another value of their own to reject.
    own = found["negatives"][-1]
    assert (own["negatives"], own["questions"], own["share"]) == ("own", 0, None)
    assert found["streamed"] == [{"updates": 3, "users": 4, "equal": 4}]

    page = render({**found, **dict.fromkeys(("data", "days", "command", "commit", "machine"), "<made up>")})
    assert "&lt;made up&gt;" in page
    assert "it is no reader of them" in page
    assert page.count("<table>") == 4
    assert "None" not in page


@pytest.mark.parametrize(("value", "error", "reads"), [(0.1, 0.04, True), (0.1, 0.06, False), (-0.1, 0.01, False)])
def test_who_reads_has_more_right_with_a_profile(value, error, reads):
    assert transfer.can_read({"value": value, "error": error}) is reads
    assert not transfer.can_read({"value": 1.0, "error": None})


def test_a_ratio_is_that_of_all_windows_and_its_spread_that_of_rounds():
    used = [(1, 2.0, 1.0), (1, 1.0, 1.0), (2, 3.0, 2.0)]
    rows = [{"round": n, "with": one, "without": other, "ratio": one / other} for n, one, other in used]
    found = summary(rows)
    assert (found["ratio"], found["ratio_of_rounds"], found["median_ratio"]) == (1.5, [1.5, 1.5], 1.5)
    assert found["cpu_seconds"] == {"with": 6.0, "without": 4.0}
    assert found["smallest_and_largest_ratio"] == [1.0, 2.0]


def test_the_page_has_the_tables_of_the_report():
    page = README.read_text(encoding="utf-8").splitlines()
    assert [line for line in tables(read()).splitlines() if line.startswith("|") and line not in page] == []


def test_what_is_encoded_is_what_is_published(made):
    with Session(made.context) as session:
        users, texts = profile_texts(made.context, session, DAYS[2])
    published = {row["user_id"]: row["profile_text"] for row in made.offline_rows(PROFILE_VIEW, DAYS[2])}
    assert dict(zip(users.tolist(), texts, strict=True)) == published
