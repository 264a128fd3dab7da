"""Repeats in turns, and profiles."""

import cProfile
import pstats
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

TOP = 5


def in_turns(
    methods: Mapping[str, Callable[[], float]], rounds: int, limit: float = float("inf")
) -> dict[str, list[float]]:
    """What each method returns (seconds) per round; every round calls all, each time another one first.

    No round begins after `limit` seconds, so that a slow machine makes fewer of them.
    """
    names, begun = list(methods), perf_counter()
    results: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        if number and perf_counter() - begun > limit:
            break
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            results[name].append(methods[name]())
    return results


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def cpu_seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of this process, all its threads."""
    start = process_time()
    run()
    return process_time() - start


def top_functions(run: Callable[[], Any]) -> str:
    """The functions in which a call spends its own time, most first."""
    profile = cProfile.Profile()
    profile.runcall(run)
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = sorted(((entry[2], *where) for where, entry in stats.items()), reverse=True)
    total = sum(seconds for seconds, *_ in own)
    parts = [f"{seconds / total:.0%} {_function(*where)}" for seconds, *where in own[:TOP]]
    return "most time (cProfile): " + ", ".join(parts)


def _function(file: str, line: int, name: str) -> str:
    return name if file == "~" else f"{name} ({'/'.join(Path(file).parts[-2:])}:{line})"


def top_operators(run: Callable[[], Any]) -> str:
    """The same of torch's operators."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    found = sorted(profiled.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in found)
    parts = [f"{each.self_cpu_time_total / total:.0%} {each.key}" for each in found[:TOP]]
    return "most time (torch profiler): " + ", ".join(parts)
