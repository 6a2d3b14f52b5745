"""Loader processes are forked from one that has read videos."""

import gc
import os
import time

import av
import numpy as np
import pytest

import datamodules.video.files  # noqa: F401 - what a loader's process needs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_does_not_wait_for_the_threads_of_a_frame_that_it_collects():
    gc.disable()
    frame = av.VideoFrame.from_ndarray(np.zeros((720, 1280, 3), np.uint8), format="rgb24")
    held = [frame, frame.reformat(640, 360, "yuv420p")]
    held.append(held)
    del frame, held
    child = os.fork()
    if not child:
        gc.collect()
        os._exit(0)
    gc.enable()
    deadline = time.monotonic() + 20
    while not (ended := os.waitpid(child, os.WNOHANG)[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    if not ended:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended
