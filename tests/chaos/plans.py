"""What goes wrong, made from a seed and from the points that an undisturbed run of the script came by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from tests.chaos.script import Landing, Script, Step
from tests.strategies import USERS

KINDS = ("kill", "kills", "torn", "twice", "amid")
WEIGHTS = (40, 15, 15, 20, 10)
READ = "before:partition"
"""A step that came by here has opened what landed before it."""
Trace = Mapping[str, int]
"""How often a step came by each point of `updater.runtime.crash_points`."""


@dataclass(frozen=True)
class Plan:
    """One case: the faults of one step of a script."""

    seed: int
    kind: str
    """`kill`, `kills`: of the process, once or twice. `torn`: a file that lands is cut off, and landed again when it
    was refused. `twice`: two processes do the step at the same time. `amid`: killed, and before it is run again
    somebody is erased or the state is maintained.
    """
    step: int
    kills: tuple[str, ...] = ()
    """Points at which one attempt after the other is killed, each as in UPDATER_CRASH_POINT."""
    torn: Landing | None = None
    amid: Step | None = None

    @property
    def num_faults(self) -> int:
        """Faults that this case attempts."""
        return len(self.kills) + (self.torn is not None) + (self.kind == "twice")

    def describe(self, script: Script) -> str:
        """The case in words."""
        parts = [f"{self.kind} in `{script.steps[self.step]}`"]
        parts += [f"killed {point}" for point in self.kills]
        parts += [f"{self.torn.modality} cut to {self.torn.torn:.0%}"] if self.torn else []
        parts += [f"then `{self.amid}`"] if self.amid else []
        return ", ".join(parts)


def make_plan(number: int, script: Script, traces: Sequence[Trace]) -> Plan:
    """The case of a seed."""
    random = Random(f"plan {number}")
    runs = [index for index, step in enumerate(script.steps) if step.verb == "run"]
    tearable = [index for index in range(len(traces)) if READ in traces[index] and script.steps[index].landings]
    kind = random.choices(KINDS, WEIGHTS)[0]
    if kind in ("kill", "kills"):
        killable = [index for index, trace in enumerate(traces) if trace]
        index = random.choice(killable)
        return Plan(number, kind, index, tuple(_point(random, traces[index]) for _ in range(1 + (kind == "kills"))))
    if kind == "torn":
        index = random.choice(tearable)
        landing = random.choice(_newest(script.steps[index].landings))
        kills = (_point(random, traces[index]),) if random.random() < 0.5 else ()
        return Plan(number, kind, index, kills, torn=replace(landing, torn=random.random()))
    index = random.choice(runs)
    if kind == "twice":
        kills = (_point(random, traces[index]),) if random.random() < 0.5 else ()
        return Plan(number, kind, index, kills)
    step = script.steps[index]
    verb = random.choice(["erase", "maintain"]) if index else "erase"
    amid = Step(
        verb, step.ds, step.now + timedelta(minutes=30), user_id=random.choice(USERS) if verb == "erase" else ""
    )
    return Plan(number, kind, index, (_point(random, traces[index]),), amid=amid)


def _point(random: Random, trace: Trace) -> str:
    """A point that the step comes by, and at which time it is one too many; rare points as often as frequent ones."""
    point = random.choice(sorted(trace))
    return f"{point}:{random.randint(1, trace[point])}"


def _newest(landings: Sequence[Landing]) -> list[Landing]:
    # Of what the first window lands, older days of a stream may lie before its buffer, where nobody opens them.
    last = max(landing.ds for landing in landings)
    return [landing for landing in landings if landing.ds == last]
