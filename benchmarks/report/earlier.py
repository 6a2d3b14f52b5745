"""Seeds that are published already, beside those that were run here: ``run_all --with-published``."""

from dataclasses import replace

import pandas as pd

from benchmarks.report.results import Keys, Place, Provenance, Results, keys_of


def with_published(here: Results, published: Results, today: Keys) -> Results:
    """Adds the published scores of runs that today's settings would repeat, and that were not done here.

    A key holds all that decides what a run gives but the code and the machine, so fits of several sittings and machines
    stand in one table; its record names every commit and device.

    Args:
        here: What was run here.
        published: The table as it is published, without rows from outside.
        today: The keys that test runs of the published seeds have by the settings of today.
    """
    own, by_today = _flat(here.provenance.runs), _flat(today)
    added = {
        place: key
        for place, key in _flat(published.provenance.runs).items()
        if by_today.get(place) == key and place not in own
    }
    if not added:
        return here
    lines = zip(*(published.scores[name] for name in ("row", "test", "seed")), strict=True)
    scores = pd.concat([here.scores, published.scores[[Place(*line) in added for line in lines]]], ignore_index=True)
    return Results(here.table, scores, _joined(here.provenance, published.provenance, keys_of(own | added)))


def differing(published: Keys, today: Keys) -> list[str]:
    """The rows of which a published run has other settings than those of today."""
    by_today = _flat(today)
    return [*dict.fromkeys(place.row for place, key in _flat(published).items() if by_today.get(place) != key)]


def seeds_of(keys: Keys) -> list[int]:
    """The seeds that there are runs of."""
    return sorted({place.seed for place in _flat(keys)})


def _flat(keys: Keys) -> dict[Place, str]:
    return {
        Place(row, test, int(seed)): key
        for row, tests in keys.items()
        for test, seeds in tests.items()
        for seed, key in seeds.items()
    }


def _joined(here: Provenance, published: Provenance, runs: Keys) -> Provenance:
    names = published.facts | here.facts
    facts = {name: _united(published.facts.get(name, ""), here.facts.get(name, "")) for name in names}
    truth = {
        test: sorted({*here.truth.get(test, []), *published.truth.get(test, [])})
        for test in sorted(published.truth | here.truth)
    }
    return replace(here, facts=facts, truth=truth, runs=runs)


def _united(before: str, now: str) -> str:
    """What both agree on, or each of the values where they differ, as `collect.collect` has it."""
    parts = [set(text.split(", ")) if text else set() for text in (before, now)]
    if parts[0] <= parts[1]:
        return now
    if parts[1] <= parts[0]:
        return before
    whole = parts[0] | parts[1]
    return ", ".join(sorted(whole, key=int) if all(part.isdigit() for part in whole) else sorted(whole))
