"""Cross-identity outputs that somebody saved are the samples of a test run, whatever each pair's source frame is."""

import csv
import shutil

import pytest
from PIL import Image

from benchmarks.evaluation.scorer import Scorer
from benchmarks.tasks import cross_reenactment as task
from datamodules.base import TestProtocol
from datamodules.video.frames import VideoFrames
from datamodules.world.export.clips import PortraitSpec
from models.errors import UserError
from models.pixels import to_uint8
from tests.conftest import SPEC
from tests.saved_outputs import read


def picture(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(frame).permute(1, 2, 0).numpy()).save(path)


def scored(batches):
    scorer = Scorer("cross_reenactment")
    for outputs, batch in batches:
        scorer.add(outputs, batch)
    return scorer.finish()


@pytest.fixture(scope="module")
def module(portraits_root):
    spec = PortraitSpec(**SPEC | {"depth_splits": tuple(SPEC["depth_splits"])})
    module = VideoFrames(str(portraits_root), 32, portraits=spec, num_workers=0, test=TestProtocol("cross_reenactment"))
    module.setup("test")
    return module


def test_saved_frames_are_the_samples_of_a_test_run(module, tmp_path):
    batches = list(module.test_dataloader())
    tested = scored((batch.driving, batch) for batch in batches)
    for batch in batches:
        task.save(batch.driving, batch, tmp_path, picture)
    found = scored(read(tmp_path, module.root / "targets", "cross_reenactment").batches())
    assert any("@" in name for name in tested.samples["sample_id"])  # not each source is a clip's first frame
    assert found.truth == tested.truth
    assert found.values == tested.values
    alone = shutil.copytree(module.root / "targets", tmp_path.parent / "alone" / "targets")
    assert scored(read(tmp_path, alone, "cross_reenactment").batches()).truth != tested.truth  # no list beside it


def test_a_list_may_lie_elsewhere_and_must_name_what_is_there(module, tmp_path):
    with (module.root / task.PAIRS).open() as file:
        rows = list(csv.DictReader(file))
    listed = tmp_path / "pairs.csv"
    targets = module.root / "targets"
    with listed.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([row | {"frame": 2, "best_frame": 0} for row in rows])
    named = [batch.sample_id for _, batch in read(targets, targets, "cross_reenactment", pairs=listed).batches()]
    assert all(name.endswith("@0000002") for names in named for name in names)
    with pytest.raises(UserError, match="There is no pair list"):
        read(targets, targets, "cross_reenactment", pairs=tmp_path / "none.csv")
