"""Fits that are killed, for tests: each runs in a process of its own, forked so that it imports nothing anew."""

import json
import os
import signal
import sys
import traceback

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from benchmarks import cli, resuming, runs

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


def in_a_process(work, until=None):
    """Runs a function in a forked process, which ``until`` may arm to kill itself; its exit status."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        if until:
            until()
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


KILLED = int(signal.SIGKILL)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fit(args):
    """One call of ``lightning fit``."""
    cli.build(["fit", *args])


def learnt(checkpoint):
    """All of a fit's checkpoint that its future depends on, flat: weights, optimisers, schedules, steps."""
    whole = torch.load(checkpoint, weights_only=True)
    flat = dict(_flat("", {name: whole[name] for name in ("state_dict", "optimizer_states", "lr_schedulers")}))
    return flat | {"step": whole["global_step"]}


def _flat(name, value):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _flat(f"{name}.{i}", part)
    else:
        yield name, value


def differences(one, other):
    """The names under which two fits' checkpoints differ, by a single bit or by what they hold."""
    absent = one.keys() ^ other.keys()
    return sorted(absent) + sorted(name for name in one.keys() & other.keys() if not _same(one[name], other[name]))


def _same(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


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
