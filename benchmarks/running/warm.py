"""Runs that start from one warm process, which has imported what all need and has touched no GPU."""

import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import connection, forkserver, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import torch

FORKS = get_context("forkserver")
IMPORTED = "benchmarks.running.imported"


def warm_up(environment: Mapping[str, str]) -> None:
    """Starts the process that runs are forked from; it imports while the caller goes on.

    Args:
        environment: What libraries look at when they are loaded, such as ``OMP_NUM_THREADS``. It is set here too.
    """
    os.environ.update(environment)
    forkserver.set_forkserver_preload([IMPORTED])
    forkserver.ensure_running()


def start(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> BaseProcess:
    """Starts ``lightning`` in a process of its own, which ends when this one does, whatever ends it.

    Args:
        arguments: What follows ``lightning``.
        log: Its words are added to it.
        environment: What is set for it alone, before it computes.
    """
    whole = dict(os.environ) | dict(environment)
    process = FORKS.Process(target=_lightning, args=(tuple(arguments), log, whole, Path.cwd()))
    process.start()
    return process


def _lightning(arguments: tuple[str, ...], log: Path, environment: dict[str, str], folder: Path) -> None:
    Thread(target=_end_with_the_first, daemon=True).start()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # torch looked at it when it was imported
    from benchmarks import cli

    sys.argv, sys.modules["__main__"] = ["lightning", *arguments], cli  # what Lightning starts further processes by
    cli.main()


def _end_with_the_first() -> None:
    """Ends this process once the one that asked for it is no more."""
    first = parent_process()
    assert first is not None
    connection.wait([first.sentinel])
    os._exit(1)
