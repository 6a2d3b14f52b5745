"""Several gloo processes for tests, forked so that they import nothing anew."""

import traceback
from datetime import timedelta
from multiprocessing import get_context

import torch.distributed as dist

PATIENCE = 60  # seconds for the others, and for a result


def in_gloo_processes(work, count, folder):
    """What ``work(rank)`` returns in each of several processes of one group; ``folder`` holds what they meet by."""
    fork = get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in range(count)]
    ranked = [(work, rank, count, folder / "store", sender) for rank, (_, sender) in enumerate(pipes)]
    processes = [fork.Process(target=_run, args=arguments, daemon=True) for arguments in ranked]
    for process in processes:
        process.start()
    results = [receiver.recv() if receiver.poll(2 * PATIENCE) else "no result" for receiver, _ in pipes]
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * count, "\n".join(map(str, results))
    return results


def _run(work, rank, count, store, sender):
    try:
        options = {"init_method": f"file://{store}", "timeout": timedelta(seconds=PATIENCE)}
        dist.init_process_group("gloo", rank=rank, world_size=count, **options)
        sender.send(work(rank))
        dist.destroy_process_group()
    except BaseException:
        sender.send(traceback.format_exc())
        raise
