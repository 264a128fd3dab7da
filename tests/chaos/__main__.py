"""`python -m tests.chaos --seed 1 --cases 200 [--services] [--bucket]`; `--only SEED` runs one case again."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.campaign import Case

SHOWN = 5
"""Names of items that are shown of each kind of difference."""
# Read when the libraries are imported, so set before.
ENVIRONMENT = {
    "FEAST_USAGE": "False",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign. Returns 1 if a case ended in another state than the undisturbed one, or not at all."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=sys.modules["tests.chaos"].__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the campaign (default 1)")
    parser.add_argument("--cases", type=int, default=200, help="histories x faults (default 200)")
    parser.add_argument("--only", type=int, metavar="SEED", help="run the one case of this seed")
    parser.add_argument("--services", action="store_true", help="ledger and registry in PostgreSQL, online in Redis")
    parser.add_argument("--bucket", action="store_true", help="the state in a bucket of an S3 server of its own")
    chosen = parser.parse_args(arguments)

    from tests.chaos.campaign import CASES_PER_HISTORY, Failed, case_seeds, run_cases
    from tests.chaos.place import open_place

    seeds = [chosen.only] if chosen.only is not None else case_seeds(chosen.seed, chosen.cases)
    shared = [list(group) for _, group in groupby(seeds, lambda seed: seed // CASES_PER_HISTORY)]
    counts: Counter[str] = Counter()
    started = time.monotonic()
    with open_place(chosen.services, chosen.bucket) as place:
        for number, group in enumerate(shared, start=1):
            try:
                for case in run_cases(place, group):
                    counts.update(cases=1, faults=case.num_faults, fired=case.num_fired, failed=bool(case.failure))
                    counts.update({kind: len(names) for kind, names in vars(case.differences).items()})
                    if not case.is_good:
                        _show(case)
            except Failed as error:
                counts["failed"] += 1
                print(f"history of the cases {group[0]} to {group[-1]} FAILED undisturbed: {error}")
            print(
                f"{number}/{len(shared)} histories, {counts['cases']} cases, {counts['fired']} faults fired, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    broken = f", {counts['failed']} did not end as they should" if counts["failed"] else ""
    print(
        f"{len(shared)} histories, {counts['faults']} faults, {counts['fired']} fired, {counts['lost']} lost, "
        f"{counts['doubled']} doubled, {counts['differing']} differing{broken}"
    )
    return int(any(counts[kind] for kind in ("failed", "lost", "doubled", "differing")))


def _show(case: "Case") -> None:
    print(f"case {case.seed} FAILED: {case.text}; run it again with --only {case.seed}")
    if case.failure:
        print(f"  {case.failure}")
    for kind, names in vars(case.differences).items():
        if names:
            print(f"  {len(names)} {kind}: {'; '.join(names[:SHOWN])}")


def _set_environment() -> None:
    """Keep the settings of the developer out, as the tests do."""
    for name in [name for name in os.environ if name.startswith("UPDATER_")]:
        if name not in ("UPDATER_POSTGRES_URL", "UPDATER_REDIS_URL"):
            del os.environ[name]
    os.environ.update(ENVIRONMENT)


if __name__ == "__main__":
    _set_environment()
    sys.exit(main())
