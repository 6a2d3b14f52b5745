"""Drawing on another device, proven without one: tensors that only claim to be elsewhere, and refuse to be mixed.

Their values are computed on the CPU, so that the pictures must be those of the CPU to the bit; what a real device adds
is its own rounding and its speed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from datamodules.world.body.template import tensor_of
from datamodules.world.scene import painter
from datamodules.world.scene.correspondence import optical_flow, unwrap
from datamodules.world.scene.labels import face_classes, face_parts, painted_classes
from datamodules.world.scene.landmarks import _rows
from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting, with_moving_background
from datamodules.world.scene.view import OUTPUTS, Frames, render

SIZE = 40
ELSEWHERE = torch.device("meta")  # only a name: the one that PyTorch takes without asking for a driver
CACHES = (tensor_of, face_classes, face_parts, painted_classes, _rows, *(
    getattr(painter, name) for name in ("_paint", "_lines", "_casters")
))  # fmt: skip


class Claimed(Tensor):
    """A tensor that says it is elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Claimed":
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=ELSEWHERE,
        )  # fmt: skip
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.to("cpu").tolist()  # PyTorch has none for subclasses

    @classmethod
    def __torch_dispatch__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """Serves what is made or moved elsewhere, and counts what crosses over."""

    def __init__(self) -> None:
        super().__init__()
        self.crossings = 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _computed(func, args, kwargs or {})
        places = {isinstance(leaf, Claimed) for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
        self.crossings += len(places) == 2 or str(func).startswith("aten._local_scalar_dense")
        return result


def _computed(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [isinstance(tensor, Claimed) for tensor in tensors]
    moves = str(func).startswith(("aten._to_copy", "aten.copy_"))
    if any(there) and not all(there) and not moves:
        raise AssertionError(f"{func} mixes devices: {[tuple(t.shape) for t in tensors]}, elsewhere: {there}")
    goal = kwargs.get("device")
    onto = any(there) if goal is None else torch.device(goal).type == ELSEWHERE.type
    here = kwargs if goal is None else {**kwargs, "device": "cpu"}
    local_args, local_kwargs = tree_map(lambda leaf: leaf.held if isinstance(leaf, Claimed) else leaf, (args, here))
    result = func(*local_args, **local_kwargs)
    return tree_map(lambda leaf: Claimed(leaf) if isinstance(leaf, Tensor) else leaf, result) if onto else result


@contextmanager
def another_device() -> Iterator[Device]:
    for cache in CACHES:
        cache.cache_clear()
    with Device() as device:
        yield device
    for cache in CACHES:
        cache.cache_clear()


def drawn(device: torch.device | str, frames: int = 2, outputs: tuple[str, ...] = OUTPUTS) -> Frames:
    motion, times = PortraitMotion(np.random.SeedSequence(5), 3.0), [number / 2 for number in range(frames)]
    setting = make_setting(np.random.SeedSequence(4), SIZE, 0.125)
    setting = with_moving_background(setting, np.random.SeedSequence(6), SIZE, np.array(times))
    person = make_person(np.random.SeedSequence(3), "light")
    moments = [motion(time) for time in times]
    return render(person, setting, moments, SIZE, outputs, backend="torch", device=device)


def test_frames_drawn_elsewhere_stay_there_and_are_those_of_the_cpu():
    expected = drawn("cpu")
    with another_device():
        found = drawn(ELSEWHERE)
    for name in (*OUTPUTS, "landmarks", "landmarks_3d", "rotation", "translation", "intrinsics"):
        value = getattr(found, name)
        assert isinstance(value, Claimed), name
        assert torch.equal(value.held, getattr(expected, name)), name


def test_flow_and_textures_stay_elsewhere_too():
    def tracked(device: torch.device | str) -> list[Tensor]:
        frames = drawn(device, 2, ("image", "vertices"))
        return [*optical_flow(frames, frames), *unwrap(frames, 64)]

    expected = tracked("cpu")
    with another_device():
        found = tracked(ELSEWHERE)
    assert all(
        isinstance(value, Claimed) and torch.equal(value.held, e) for value, e in zip(found, expected, strict=True)
    )


def test_what_crosses_over_does_not_grow_with_the_frames():
    with another_device() as device:
        drawn(ELSEWHERE, 1)
        first = device.crossings
        drawn(ELSEWHERE, 1)
        again = device.crossings - first
        drawn(ELSEWHERE, 4)
        assert device.crossings - first - again == again
    assert 0 < again < 40
    assert first > again  # what belongs to the mesh and the person is moved once


@pytest.mark.parametrize("left", ["_casters", "face_classes", "painted_classes"])
def test_a_constant_left_behind_is_found(left: str, monkeypatch: pytest.MonkeyPatch):
    whole = getattr(painter, left)
    monkeypatch.setattr(painter, left, lambda first, device: whole(first, torch.device("cpu")))
    with another_device(), pytest.raises(AssertionError, match="mixes devices"):
        drawn(ELSEWHERE, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_draws_what_the_cpu_draws():
    found, expected = drawn("cuda"), drawn("cpu")
    for name in OUTPUTS:
        ours, theirs = getattr(found, name).cpu().float(), getattr(expected, name).float()
        assert ((ours - theirs).abs() < 1e-4).float().mean() > 0.999, name


def test_numba_is_for_the_cpu():
    pytest.importorskip("numba")
    setting = make_setting(np.random.SeedSequence(4), SIZE, 0.125)
    person, moment = (
        make_person(np.random.SeedSequence(3), "light"),
        PortraitMotion(np.random.SeedSequence(5), 1.0)(0.5),
    )
    with another_device(), pytest.raises(ValueError, match="on a CPU"):
        render(person, setting, [moment], SIZE, backend="numba", device=ELSEWHERE)
