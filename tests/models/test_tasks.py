"""What a method is told of a batch, and how a task is found."""

from dataclasses import dataclass, field
from zlib import crc32

import pytest
import torch

from models.errors import UserError
from models.reference import CopySource, NextFrame
from models.tasks import Context, TaskBatch, find, is_oracle, perform, seeds
from models.tasks.depth import DepthEstimate, DepthFrames
from models.tasks.reenactment import Reenactment


def depths(names):
    count = len(names)
    named = {"task": "depth", "sample_id": names, "video_id": ["v"] * count, "frame": list(range(count))}
    image = torch.rand(count, 3, 4, 4)
    mask = torch.ones(count, 1, 4, 4, dtype=torch.bool)
    return DepthFrames(
        **named, image=image, depth=torch.rand(count, 1, 4, 4), mask=mask, K=torch.eye(3).expand(count, 3, 3)
    )


class Drawing:
    """Draws a number for each sample from its seed."""

    def estimate_depth(self, image, context):
        draws = [torch.rand(1, 1, 1, generator=torch.Generator().manual_seed(int(seed))) for seed in context.seeds]
        return DepthEstimate(torch.stack(draws).expand(-1, 1, 4, 4), "depth")


def test_a_seed_is_the_samples_own_and_no_draw_depends_on_the_order():
    names = ["v/0", "v/1", "w/0"]
    assert seeds(names).tolist() == [crc32(name.encode()) for name in names]
    forward, backward = (perform(Drawing(), depths(order)).map for order in (names, names[::-1]))
    assert torch.equal(forward, backward.flip(0))
    assert len(forward.flatten(1)[:, 0].unique()) == 3


def test_a_row_is_an_oracles_by_its_method_or_by_a_condition_that_the_batch_holds():
    @dataclass(kw_only=True)
    class Conditioned(TaskBatch):
        conditions: dict = field(default_factory=dict)

    named = {"task": "x", "sample_id": [], "video_id": [], "frame": []}
    assert is_oracle(NextFrame(8), TaskBatch(**named))
    assert not is_oracle(CopySource(8), Conditioned(**named))
    assert is_oracle(CopySource(8), Conditioned(**named, conditions={"depth": torch.zeros(1)}))
    assert (Context().conditions, Context().prompts) == ({}, ())


@pytest.mark.parametrize("name", ["dance", "nowhere.dance"])
def test_a_task_that_is_nowhere_is_one_sentence(name):
    with pytest.raises(UserError, match=f"There is no task '{name}'; its file would be "):
        find(name)


def test_an_error_inside_a_tasks_file_is_not_taken_for_its_absence(tmp_path, monkeypatch):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/task.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        find("torn.task")


def test_the_two_reenactments_are_asked_alike_and_differ_in_whose_video_it_is():
    batch = Reenactment(
        task="self_reenactment",
        sample_id=["v/1"],
        video_id=["v"],
        frame=[1],
        number=[1],
        source=torch.rand(1, 3, 4, 4),
        driving=torch.rand(1, 1, 3, 4, 4),
        initial=torch.rand(1, 3, 4, 4),
    )
    assert torch.equal(perform(CopySource(4), batch)[:, 0], batch.source)
    assert find("self_reenactment").IS_SELF
    assert not find("cross_reenactment").IS_SELF
