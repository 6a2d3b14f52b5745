"""Kills a fit at drawn moments and holds it against an undisturbed one: ``python -m benchmarks.running.kill_check``.

For example, a hundred kills of a short fit of FOMM with two loader processes:

    python -m benchmarks.running.kill_check --kills 100 -- -c benchmarks/dagan.yaml -c benchmarks/tiny/dagan.yaml
        -c benchmarks/variants/dagan/fomm.yaml --data.init_args.samples_per_epoch=32 --data.init_args.num_workers=2
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import cli
from benchmarks.run_all import prepare
from benchmarks.runs import Run
from models.errors import UserError

PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")


def forked(work: Callable[[], object], log: Path) -> int:
    """Starts work in a process that imports nothing anew, its words in a log; the process's number."""
    if child := os.fork():
        return child
    status = 1
    try:
        with log.open("a") as told:
            os.dup2(told.fileno(), 1)
            os.dup2(told.fileno(), 2)
        os.setsid()
        work()
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def differences(one: Path, other: Path) -> list[str]:
    """The names under which two fits' checkpoints differ, in a single bit or in what they hold."""
    flat = [dict(_flat("", torch.load(path, weights_only=True))) for path in (one, other)]
    shared = flat[0].keys() & flat[1].keys()
    return sorted(flat[0].keys() ^ flat[1].keys()) + [n for n in sorted(shared) if not _same(flat[0][n], flat[1][n])]


def main(arguments: list[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: With a sentence if the fit fails, or ends elsewhere than the undisturbed one.
    """
    options = _options(arguments)
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(check(options.fit, options.kills, options.seed, Path(folder)))
    except UserError as error:
        sys.exit(f"error: {error}")


def check(fit: list[str], kills: int, seed: int, folder: Path) -> str | None:
    """Counts the kills of one fit after another until there are enough; a sentence if one ends elsewhere.

    Raises:
        UserError: If the undisturbed fit fails.
    """
    undisturbed = _run(fit, folder / "undisturbed")
    prepare([undisturbed])
    started = time.monotonic()
    if _ended(forked(lambda: cli.build(["fit", *undisturbed.args]), folder / "log.txt")):
        raise UserError(f"The fit fails by itself: {(folder / 'log.txt').read_text().strip().splitlines()[-1]}")
    usual, rng = time.monotonic() - started, np.random.default_rng(seed)
    done = number = 0
    while done < kills:
        run, number = _run(fit, folder / f"killed-{number}"), number + 1
        before = done
        while not run.is_done:
            done += _killed(run, folder / "log.txt", rng.uniform(0, 0.7 * usual) if done < kills else None)
        if found := differences(undisturbed.checkpoint, run.checkpoint):
            return f"{len(found)} parts differ after {done - before} kills, the first: {found[0]}."
        print(f"fit {number}: {done - before} kills, equal to the bit ({done} of {kills})", flush=True)
    return None


def _killed(run: Run, log: Path, moment: float | None) -> bool:
    """Runs a fit and kills it, with its loader processes, after some seconds; whether it was still running."""
    child = forked(lambda: cli.build(["fit", *run.args]), log)
    while moment is not None and (moment := moment - 0.01) > 0 and not run.is_done:
        time.sleep(0.01)
    if moment is not None and not run.is_done:
        os.killpg(child, signal.SIGKILL)
    status = _ended(child)
    if status > 0:
        raise UserError(f"A fit that went on failed: {log.read_text().strip().splitlines()[-1]}")
    return status == -signal.SIGKILL


def _run(fit: list[str], results: Path) -> Run:
    args = [*fit, f"--results={results}", "--trainer.enable_progress_bar=false"]
    return Run.of("fit", cli.parse(["fit", *args]), cli.parse, tuple(args))


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _flat(name: str, value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - of a checkpoint
    """The leaves of what a fit's future depends on, by dotted names."""
    if not name:
        value = {part: value[part] for part in PARTS}
    if isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _flat(f"{name}.{key}", part)
    else:
        yield name, value


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.running.kill_check",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100, help="how many, of as many fits as that takes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("fit", nargs="+", help="after --, what follows `lightning fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
