"""Fits that are killed, for tests: each runs in a process of its own, forked so that it imports nothing anew."""

import json
import os
import signal
import socket
from pathlib import Path

from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from benchmarks import cli, runs
from benchmarks.running import resuming
from benchmarks.running.kill_check import forked

PORTRAITS = {
    "image_size": 32, "train_people": 4, "test_people": 6, "clips_per_person": 1, "frames_per_clip": 4, "fps": 6.0,
    "cross_pairs": 6, "depth_splits": ["train", "test"],
}  # fmt: skip
SMALL_DAGAN = {
    "keypoints": {"block_expansion": 4, "max_features": 8, "num_blocks": 2},
    "motion": {"block_expansion": 4, "max_features": 8, "num_blocks": 2},
    "generator": {"block_expansion": 4, "max_features": 8},
    "discriminator": {"block_expansion": 4, "max_features": 8, "num_blocks": 2},
}


def in_a_process(work, until=lambda: None):
    """Runs a function in a forked process, which ``until`` may arm to kill itself; its exit status."""

    def armed():
        until()
        work()

    return os.waitstatus_to_exitcode(os.waitpid(forked(armed, Path(os.devnull)), 0)[1])


def in_two_processes(work, log=Path(os.devnull)):
    """Runs a function in two forked processes that Lightning takes for those of one run; their exit statuses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def ranked(rank):
        def run():
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", NODE_RANK="0")
            os.environ.update(LOCAL_RANK=str(rank))
            rank_zero_only.rank = rank
            work()

        return run

    children = [forked(ranked(rank), log) for rank in range(2)]
    statuses = {}
    while len(statuses) < 2:
        child, status = os.wait()
        statuses[child] = os.waitstatus_to_exitcode(status)
        for other in children if status else ():  # who would wait for ever
            if other not in statuses:
                os.kill(other, signal.SIGKILL)
    return [statuses[child] for child in children]


KILLED = int(signal.SIGKILL)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fit(args):
    """One call of ``lightning fit``."""
    cli.build(["fit", *args])


def argument(name, value):
    return f"--{name}={json.dumps(value)}"


def at_step(number):
    """Arms a process to kill itself before its step of that number, counted from 1."""

    def arm():
        seed, steps = resuming.StepSeeds.on_train_batch_start, iter(range(1, 10**6))

        def counted(self, *args):
            if next(steps) == number:
                die()
            seed(self, *args)

        resuming.StepSeeds.on_train_batch_start = counted

    return arm


def amid_checkpoint(number):
    """Arms a process to kill itself when half of its checkpoint of that number is written."""

    def arm():
        save, saves = TorchCheckpointIO.save_checkpoint, iter(range(1, 10**6))

        def halved(self, checkpoint, path, storage_options=None):
            save(self, checkpoint, path, storage_options)
            if next(saves) == number:
                os.truncate(path, os.path.getsize(path) // 2)
                die()

        TorchCheckpointIO.save_checkpoint = halved

    return arm


def after_checkpoint(number):
    """Arms a process to kill itself right after its checkpoint of that number."""

    def arm():
        save, saves = resuming.WrittenAside.save_checkpoint, iter(range(1, 10**6))

        def last(self, *args, **kwargs):
            save(self, *args, **kwargs)
            if next(saves) == number:
                die()

        resuming.WrittenAside.save_checkpoint = last

    return arm


def before_the_record():
    """Arms a process to kill itself when all is done but the record."""
    runs.write_json = lambda *args: die()
