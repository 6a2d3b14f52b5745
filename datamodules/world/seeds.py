"""Counter-based random streams, so that nothing drawn depends on order, process or count."""

import numpy as np


def stream(seed: int, *place: int) -> np.random.SeedSequence:
    """The seed of one place of a set: the same whatever else is drawn, before it or beside it."""
    return np.random.SeedSequence(seed, spawn_key=place)


def generator(seed: np.random.SeedSequence | int) -> np.random.Generator:
    """A Philox generator (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011)."""
    return np.random.Generator(np.random.Philox(seed))


def generators(seed: np.random.SeedSequence, count: int) -> list[np.random.Generator]:
    """Independent generators below a seed; unlike ``spawn`` they do not depend on earlier calls."""
    children = (np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i)) for i in range(count))
    return [generator(child) for child in children]
