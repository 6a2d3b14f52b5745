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
    with pytest.raises(UserError, match=r"There is no pair list '.*none\.csv'; correct --pairs, or leave it out"):
        read(targets, targets, "cross_reenactment", pairs=tmp_path / "none.csv")


def test_it_is_said_which_pairs_the_source_frames_are_of(module, tmp_path):
    targets = module.root / "targets"
    told = read(targets, targets, "cross_reenactment").remark
    assert told == f"The source frames are those of the pairs in '{module.root / task.PAIRS}'."
    alone = shutil.copytree(targets, tmp_path / "set" / "targets")
    found = read(alone, alone, "cross_reenactment")
    assert found.remark.startswith("There is no list of pairs, so each source is taken for the first frame of its clip")
    assert found.matches


def test_a_list_whose_clips_or_targets_are_not_there_is_told_of_by_its_name(module, tmp_path):
    alone = shutil.copytree(module.root / "targets", tmp_path / "set" / "targets")
    with pytest.raises(UserError, match=r"none\.csv'"):  # the list that is not there, not the folder of its clips
        read(alone, alone, "cross_reenactment", pairs=tmp_path / "none.csv")
    listed = shutil.copy(module.root / task.PAIRS, tmp_path)
    with pytest.raises(UserError, match=r"cross_pairs\.csv' names clips, but there is no folder '.*set/test'"):
        read(alone, alone, "cross_reenactment", pairs=listed)
    shutil.copytree(module.root / "test", alone.parent / "test")
    shutil.copytree(alone / read(alone, alone, "cross_reenactment").matches[0].truth.path.name, alone / "other")
    with pytest.raises(UserError, match=r"No pair of '.*cross_pairs\.csv' has the target 'other'; add it there"):
        read(alone, alone, "cross_reenactment", pairs=listed)
