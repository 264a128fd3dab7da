"""The numbers of the four kinds of behaviour, chosen so that counts say something and the order of events much more."""

from functools import lru_cache

import numpy as np

from updater.sources.population.order import Order
from updater.sources.population.renewal import Floats, Renewal, gamma_gaps, mixed
from updater.sources.population.response import Response


@lru_cache(maxsize=1)
def needs() -> Renewal:
    """One need of a user: gamma gaps of shape 3, whose mean of two weeks or four months the user keeps."""
    gaps = np.stack([gamma_gaps(mean, 3, 400)[None] for mean in (14, 120)])
    return Renewal(classes=np.array([0.5, 0.5]), switch=np.ones((1, 1)), gaps=gaps)


@lru_cache(maxsize=1)
def order() -> Order:
    """Three steps, the same for each of the chains."""
    return Order(
        step_chance=0.03,
        base=np.array([0.001, 0.008]),
        classes=np.array([0.5, 0.5]),
        factor=10.0,
        within=10,
        raised_days=28,
    )


@lru_cache(maxsize=1)
def regimes() -> Renewal:
    """Visits: evenly spaced when settled, bursts and long pauses when drifting, with the same mean gap in both.

    Half of the users come half as often and pause more, which is what counts can know.
    """
    gaps = np.stack([_settled_and_drifting(5.4, 0.03), _settled_and_drifting(10.8, 0.22)])
    return Renewal(classes=np.array([0.5, 0.5]), switch=np.array([[0.95, 0.05], [0.06, 0.94]]), gaps=gaps)


def _settled_and_drifting(mean: float, pauses: float) -> Floats:
    burst = (mean - 40 * pauses) / (1 - pauses)
    drifting = mixed([(1 - pauses, gamma_gaps(burst, 1, 200)), (pauses, gamma_gaps(40, 4, 200))])
    return np.stack([gamma_gaps(mean, 16, 200), drifting])


@lru_cache(maxsize=1)
def response() -> Response:
    """Prompt, slow and silent: the first two answer equally often, but only the prompt go on answering."""
    prompt = np.array([0.5, 0.3, 0.2, 0, 0, 0, 0, 0, 0, 0])
    slow = np.array([0, 0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.05])
    return Response(
        interval=10,
        move=np.array([[0.92, 0.08, 0.0], [0.05, 0.05, 0.9], [0.15, 0.0, 0.85]]),
        delays=np.stack([0.9 * prompt, 0.9 * slow, 0.03 * slow]),
    )
