"""How fast the portrait world draws beside that of another commit: ``benchmarks.speed.world --against CHECKOUT``.

The command runs this file in turns (A B A B), each time in a process of one thread that imports the code of one of the
two checkouts, so it may use only what both have. Samples are counted by the second of processor time, which other work
on the machine disturbs less than it does the clock's.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting
from datamodules.world.scene.view import OUTPUTS, render
from datamodules.world.sets.portraits import WORLD_VERSION
from models.errors import UserError

HERE = Path(__file__).parents[2]
PEOPLE, BATCH = 6, 16  # several people, for what they wear takes its time, and the frames of each
FACE = 0.125  # metres, the height that the pictures are cut to
OWED = 0.9  # times as fast as the world before it
KINDS = {"all outputs": OUTPUTS, "image only": ("image",)}


class Turns(NamedTuple):
    """What was measured of one kind: samples a processor second of this world and of the other, a turn each."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The median over the turns of how many times as fast this world is."""
        return median(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))


def drawn(size: int, detail: Any, seconds: float) -> dict[str, float]:  # noqa: ANN401 - a word that JSON brought
    """Samples a processor second of each kind, posing included; whole rounds of all people for at least that long."""
    torch.set_num_threads(1)
    motion = PortraitMotion(np.random.SeedSequence(2), 4.0)
    moments = [motion(4 * i / BATCH) for i in range(BATCH)]
    scenes = [
        (make_person(np.random.SeedSequence([0, i]), detail), make_setting(np.random.SeedSequence([1, i]), size, FACE))
        for i in range(PEOPLE)
    ]
    draws = {
        kind: [partial(render, *scene, moments, size, outputs) for scene in scenes] for kind, outputs in KINDS.items()
    }
    return {kind: len(scenes) * BATCH * _rounds(works, seconds) for kind, works in draws.items()}


def _rounds(works: Sequence[Callable[[], object]], seconds: float) -> float:
    """How often all are done in a processor second, after one that warms up."""
    works[0]()
    rounds, start = 0, time.process_time()
    while not rounds or time.process_time() - start < seconds:
        for work in works:
            work()
        rounds += 1
    return rounds / (time.process_time() - start)


def against(checkout: Path, size: int, detail: str, seconds: float, turns: int) -> tuple[int, dict[str, Turns]]:
    """Measures this world and that of another checkout in turns.

    Returns:
        The version of the other world, and what was measured by kind.

    Raises:
        UserError: If there are no turns, or the other is no checkout of the suite or cannot draw.
    """
    if turns < 1:
        raise UserError(f"{turns} turns: give --turns 1 or more.")
    if not (checkout / "datamodules/world").is_dir():
        raise UserError(f"'{checkout}' is no checkout of the suite: make one with git worktree add PATH COMMIT.")
    asked = json.dumps({"size": size, "detail": detail, "seconds": seconds})
    pairs = [(_run(HERE, asked), _run(checkout.resolve(), asked)) for _ in range(turns)]
    rates = [{kind: [each[side]["rates"][kind] for each in pairs] for kind in KINDS} for side in (0, 1)]
    return pairs[0][1]["version"], {kind: Turns(rates[0][kind], rates[1][kind]) for kind in KINDS}


def _run(checkout: Path, asked: str) -> dict[str, Any]:
    command = [sys.executable, "-P", __file__, asked]  # -P: what lies beside this file is not to be imported
    single = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, env=os.environ | single, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"'{checkout}' cannot draw: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    if Path(told["root"]) != checkout:
        raise UserError(f"'{checkout}' was not imported, but {told['root']}: take it off the path of this Python.")
    return told


def show(size: int, version: int, measured: dict[str, Turns]) -> None:
    """Prints the rates of either world and their ratio beside what is owed."""
    print(f"{size}² samples a processor second, {PEOPLE} people, world {WORLD_VERSION} and {version} in turns:")
    for kind, turns in measured.items():
        both = (", ".join(f"{rate:.1f}" for rate in side) for side in turns)
        told = "" if turns.ratio >= OWED else ", not met"
        print(f"  {kind:11}  {' against '.join(both)}   ratio {turns.ratio:.2f} (owed: {OWED}{told})")


if __name__ == "__main__":
    root = Path(sys.modules[render.__module__].__file__ or "").parents[3]
    print(json.dumps({"root": str(root), "version": WORLD_VERSION, "rates": drawn(**json.loads(sys.argv[1]))}))
