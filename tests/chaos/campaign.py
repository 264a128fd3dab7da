"""A history is run once undisturbed; then its cases: a step of it with faults, compared with the undisturbed state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.comparison import Differences, compare
from tests.chaos.perform import NOWHERE, Attempt, Child, Outcome, land
from tests.chaos.place import Place
from tests.chaos.plans import Plan, Trace, make_plan
from tests.chaos.script import Landing, Script, Step, make_script
from tests.chaos.state import COUNTS, LAYOUT, TEXT, Items
from updater.settings import load_settings

CASES_PER_HISTORY = 4
MOST_CASES = 100_000
"""Cases of one campaign at most: the seeds of the next one follow."""
MAX_ATTEMPTS = 5
NOT_COMPARED = {"erase": (LAYOUT, TEXT, COUNTS), "maintain": (LAYOUT,)}
"""What depends on how much of a window is done before somebody is erased, or files are merged."""
REFUSED = "DataRefusedError"


class Failed(Exception):
    """A process ended in a way that no fault explains."""


@dataclass(frozen=True)
class Undisturbed:
    """What steps lead to: per step how it ended, by which points it came, and the state afterwards."""

    results: list[str]
    traces: list[Trace]
    states: list[Items]


@dataclass(frozen=True)
class Case:
    """How a case ended."""

    seed: int
    text: str
    num_faults: int
    num_fired: int
    differences: Differences
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """True if nothing at all is to be said against it."""
        return not self.failure and not self.differences


def case_seeds(seed: int, num_cases: int) -> list[int]:
    """Seeds of the cases of a campaign. Neighbours share a history."""
    return list(range(seed * MOST_CASES, seed * MOST_CASES + num_cases))


def run_cases(place: Place, seeds: Sequence[int]) -> Iterator[Case]:
    """Run cases that share a history; raises Failed if that history cannot be run even undisturbed."""
    script = make_script(seeds[0] // CASES_PER_HISTORY)
    undisturbed = _run_undisturbed(place, script)
    for seed in seeds:
        plan = make_plan(seed, script, undisturbed.traces)
        fired: list[str] = []
        failure, differences = "", Differences()
        try:
            differences = _run_case(place, script, undisturbed, plan, fired)
        except Failed as error:
            failure = str(error)
        yield Case(seed, plan.describe(script), plan.num_faults, len(fired), differences, failure)


def _run_undisturbed(place: Place, script: Script) -> Undisturbed:
    """Run a script step by step, and keep a copy of what was there before each step, by the step's number."""
    place.empty(script)
    found = Undisturbed([], [], [])
    _attempt(place, script, [Step("init", script.first_day, script.steps[0].now)])
    for number, step in enumerate(script.steps):
        place.save(str(number))
        outcome = _attempt(place, script, [step])
        found.results.extend(outcome.results)
        found.traces.extend(outcome.traces)
        found.states.append(_items(outcome))
    return found


def _run_case(place: Place, script: Script, undisturbed: Undisturbed, plan: Plan, fired: list[str]) -> Differences:
    # The step that follows shows what the faults left behind.
    steps = script.steps[plan.step : plan.step + 2]
    if plan.amid is None:
        results = undisturbed.results[plan.step : plan.step + 2]
        expected = undisturbed.states[plan.step + len(steps) - 1]
    else:
        place.restore(str(plan.step))
        outcome = _attempt(place, script, [plan.amid, *steps])
        results, expected = outcome.results, _items(outcome)
    place.restore(str(plan.step))
    found = _disturbed(place, script, steps, results, plan, fired)
    return compare(expected, found, NOT_COMPARED[plan.amid.verb] if plan.amid else ())


def _disturbed(
    place: Place, script: Script, steps: Sequence[Step], results: list[str], plan: Plan, fired: list[str]
) -> Items:
    """Do `steps`, of which the first has the plan's faults, and those that are killed again until they end as they
    should.
    """
    kills = list(plan.kills)
    position, again = 0, False
    if plan.torn is not None:
        _check([REFUSED], _attempt(place, script, [_with_torn(steps[0], plan.torn)]))
        fired.append("torn")
    if plan.kind == "twice":
        fired.append("twice")
        outcomes = _attempt_twice(place, script, steps[0], kills)
        fired += ["killed" for outcome in outcomes if outcome.killed]
        for outcome in outcomes:
            _check(results[:1], outcome)
        kills, again = [], all(outcome.killed for outcome in outcomes)
        position = 0 if again else 1
    if plan.amid is not None:
        fired += ["killed"] * _attempt(place, script, steps[:1], fault=kills.pop()).killed
        _check(results[:1], _attempt(place, script, [plan.amid]))
        results, again = results[1:], True
    for _ in range(MAX_ATTEMPTS):
        fault = kills.pop(0) if kills else NOWHERE
        outcome = _attempt(place, script, steps[position:], again=again, fault=fault)
        _check(results[position:], outcome)
        if not outcome.killed:
            return _items(outcome)
        fired.append("killed")
        position, again = position + len(outcome.results), True
    raise Failed(f"it is not done after {MAX_ATTEMPTS} attempts")


def _attempt(
    place: Place, script: Script, steps: Sequence[Step], *, again: bool = False, fault: str = NOWHERE
) -> Outcome:
    return Child(Attempt(place.config, script.first_day, tuple(steps), again, fault)).wait()


def _attempt_twice(place: Place, script: Script, step: Step, kills: Sequence[str]) -> list[Outcome]:
    """Two processes that do a step at the same time, of which the second one may be killed."""
    for landing in step.landings:
        land(load_settings(place.config, environ={}), landing)
    faults = [NOWHERE, *kills, NOWHERE][:2]
    children = [Child(Attempt(place.config, script.first_day, (step,), True, fault)) for fault in faults]
    return [child.wait() for child in children]


def _with_torn(step: Step, torn: Landing) -> Step:
    is_torn = (torn.modality, torn.ds)
    landings = [torn if (landing.modality, landing.ds) == is_torn else landing for landing in step.landings]
    return replace(step, landings=tuple(landings))


def _check(expected: Sequence[str], outcome: Outcome) -> None:
    """Raise Failed unless a process did the steps with the expected results, or was killed at one of them."""
    done = outcome.results
    if done != list(expected[: len(done)]) or (not outcome.killed and len(done) < len(expected)):
        raise Failed(f"steps ended with {', '.join(done) or 'nothing'} instead of {', '.join(expected)}")


def _items(outcome: Outcome) -> Items:
    if outcome.items is None:
        raise Failed(f"a process ended without its state: {', '.join(outcome.results)}")
    return outcome.items
