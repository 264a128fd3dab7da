"""What a command that takes long says where there is no terminal."""

from updater.commands.common.command import ProgressLines


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_counts_seconds_and_an_estimate_at_most_every_ten_seconds():
    clock, lines = Clock(), []
    progress = ProgressLines(lines.append, clock)

    for done in range(5):
        progress(f"building (of {done} days)", done, 8)
        clock.now += 6.0

    assert lines == [
        "building (of 2 days): 2 of 8, 12 s, about 36 s left",
        "building (of 4 days): 4 of 8, 24 s, about 24 s left",
    ]


def test_each_step_has_its_own_seconds_and_what_was_done_before_tells_nothing_of_what_is_left():
    clock, lines = Clock(), []
    progress = ProgressLines(lines.append, clock)
    progress("landing", 0, 2)
    clock.now += 20.0
    progress("training (loss 3.10)", 400, 1000)
    clock.now += 30.0
    progress("training (loss 2.90)", 500, 1000)

    assert lines == [
        "training (loss 3.10): 400 of 1,000, 0 s",
        "training (loss 2.90): 500 of 1,000, 30 s, about 150 s left",
    ]
