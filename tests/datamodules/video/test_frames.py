import json
import logging
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import LightningModule, Trainer

from datamodules.base import DataError, PortraitDataModule, TestProtocol
from datamodules.video.clips import find_clips
from datamodules.video.frames import VideoFrames
from datamodules.video.splits import divide, long_enough, people, split_clips
from datamodules.world.export.clips import PortraitSpec


def test_splits_are_read_and_told_apart_by_person(faces):
    split = split_clips(faces)
    assert people(split.train) == ["id0", "id1", "id2"]
    assert people(split.test) == ["id8", "id9"]


def test_a_person_in_both_splits_is_named_or_left_out(faces, write_clip):
    write_clip(faces / "train" / "id9#other#000#003.mp4", 3)
    with pytest.raises(DataError, match=r"id9 .*both train and test.*drop_leaked"):
        split_clips(faces)
    split = split_clips(faces, drop_leaked=True)
    assert people(split.train) == ["id0", "id1", "id2"]
    assert people(split.test) == ["id8", "id9"]


def test_without_splits_a_fifth_of_the_people_are_the_test(tmp_path, write_clip):
    for index in range(20):
        write_clip(tmp_path / f"id{index % 10}#v{index}", 2)
    split = split_clips(tmp_path, seed=5)
    assert (len(people(split.train)), len(people(split.test))) == (8, 2)
    assert not set(people(split.train)) & set(people(split.test))
    assert len(split.train) + len(split.test) == 20
    assert split == split_clips(tmp_path, seed=5)
    assert len({tuple(people(split_clips(tmp_path, seed=seed).test)) for seed in range(9)}) > 1


def test_validation_is_a_slice_of_the_people_of_train(faces):
    clips = find_clips(faces / "train")
    train, val = divide(clips, seed=0, count=1)
    assert (len(people(train)), len(people(val))) == (2, 1)
    assert sorted(clip.name for clip in train + val) == [clip.name for clip in clips]


def test_short_clips_are_counted_and_left_out(faces, write_clip, caplog):
    write_clip(faces / "train" / "id7#v#000#001.mp4", 1)
    clips = find_clips(faces / "train")
    with caplog.at_level(logging.INFO):
        assert len(long_enough(clips, 2, "train")) == 6
    assert "1 clips with under 2 frames left out" in caplog.text
    assert "id7#v#000#001" in caplog.text
    with pytest.raises(DataError, match="none of its 7 clips has 9 frames"):
        long_enough(clips, 9, "train")


@pytest.mark.parametrize(("missing", "stage"), [("train", "fit"), ("test", "test")])
def test_an_empty_split_is_an_error(faces, missing, stage):
    (faces / missing).rename(faces / "aside")
    with pytest.raises(DataError, match=f"{missing}' is empty"):
        VideoFrames(str(faces), 16).setup(stage)


def test_a_set_is_noted_by_the_name_of_its_folder_or_as_the_portraits_it_is(faces):
    assert VideoFrames(str(faces), 16).notes() == {"data": faces.name}
    portraits = PortraitSpec(16, 1, 1, 1, 2, seed=5)
    assert VideoFrames("x", 16, portraits=portraits).notes() == {"data": f"portraits {portraits.hash} (seed 5)"}


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder.*gone.*doctor"):
        VideoFrames(str(tmp_path / "gone"), 16).setup("fit")


def test_too_few_people_to_validate(faces):
    with pytest.raises(DataError, match="val_people"):
        VideoFrames(str(faces), 16, val_people=3).setup("fit")


def test_the_set_s_own_list_is_used_first(faces):
    header = "source,driving,frame,target\n"
    (faces / "cross_pairs.csv").write_text(f"{header}id9#v#000#040.mp4,id8#v#000#040.mp4,0,\n")
    named = faces / "named.csv"
    named.write_text(f"{header}id8#v#000#040.mp4,id9#v#000#040.mp4,7,\n")
    for pairs, video in ((None, "id9#v#000#040__id8#v#000#040"), (str(named), "id8#v#000#040__id9#v#000#040")):
        data = VideoFrames(str(faces), 16, test=TestProtocol("cross_reenactment", pairs=pairs), num_workers=0)
        data.setup("test")
        assert set(next(iter(data.test_dataloader())).video_id) == {video}


def test_drawn_pairs_are_written_beside_the_run(faces, tmp_path):
    data = VideoFrames(str(faces), 16, test=TestProtocol("cross_reenactment", max_frames=2), num_workers=0)
    data.trainer = SimpleNamespace(is_global_zero=True, log_dir=str(tmp_path / "run"), world_size=1, global_rank=0)
    data.setup("test")
    drawn = [batch.video_id for batch in data.test_dataloader()]
    again = VideoFrames(
        str(faces),
        16,
        test=TestProtocol("cross_reenactment", max_frames=2, pairs=str(tmp_path / "run" / "cross_pairs.csv")),
        num_workers=0,
    )
    again.setup("test")
    assert drawn == [batch.video_id for batch in again.test_dataloader()]
    assert len(drawn) == 2


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_bad_frame_ends_in_one_sentence(tmp_path, write_clip, suffix):
    """Also when it is met in a worker process, which hands on its traceback as text."""
    for person in range(2):
        folder = write_clip(tmp_path / "train" / f"id{person}#v", 2, suffix=suffix)
        for frame in folder.iterdir():
            frame.write_bytes(frame.read_bytes()[:100])
    for workers in (0, 1):
        data = VideoFrames(str(tmp_path), 16, num_workers=workers, batch_size=1, val_people=0)
        data.setup("fit")
        with pytest.raises(DataError) as caught:
            next(iter(data.train_dataloader()))
        assert str(caught.value).startswith(f"'{tmp_path}")
        assert str(caught.value).endswith("replace or delete it.")
        assert "\n" not in str(caught.value)


class Watcher(LightningModule):
    """Notes what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["driving"])
        return self.weight * batch["driving"].mean()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch["driving"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def watch(faces, tmp_path, epochs, **options):
    data = VideoFrames(str(faces), 16, num_workers=0, samples_per_epoch=6, batch_size=3, val_samples=4, **options)
    model = Watcher()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, data)
    return model


@pytest.mark.filterwarnings("ignore")
def test_each_epoch_of_a_fit_shows_other_samples_and_validates_the_same(faces, tmp_path):
    model = watch(faces, tmp_path, epochs=2)
    assert len(model.seen) == 4
    assert len({batch.sum().item() for batch in model.seen}) == 4
    assert torch.equal(torch.cat(model.validated[:2]), torch.cat(model.validated[2:]))
    again = watch(faces, tmp_path, epochs=2, cache=True)
    assert torch.equal(torch.cat(model.seen), torch.cat(again.seen))


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_validated_if_nobody_is_kept_for_it(faces, tmp_path):
    assert watch(faces, tmp_path, epochs=1, val_people=0).validated == []


def test_a_config_names_every_part(faces):
    parser = ArgumentParser()
    parser.add_subclass_arguments(PortraitDataModule, "data")
    config = {
        "class_path": "datamodules.video.frames.VideoFrames",
        "init_args": {
            "root": str(faces),
            "image_size": 16,
            "portraits": {
                "image_size": 16,
                "train_people": 2,
                "test_people": 2,
                "clips_per_person": 1,
                "frames_per_clip": 3,
            },
            "augment": {"jitter": 0.2},
            "test": {"task": "depth"},
        },
    }
    parsed = parser.parse_args([f"--data={json.dumps(config)}", "--data.init_args.test.max_frames=3"])
    data = parser.instantiate(parsed).data
    assert isinstance(data, VideoFrames)
    assert data.test == TestProtocol("depth", max_frames=3)
    assert (data.drawing.augment.jitter, data.drawing.augment.flip) == (0.2, 0.5)
    assert data.root == faces / data.portraits.hash
    assert parser.dump(parsed)


def test_the_built_in_portraits_are_read_like_any_set(portraits_root):
    """Made on first use, trained on, and every task's truth is there."""
    spec_folder = next(path.parent for path in portraits_root.rglob("world.json"))
    for sample, shape in (("pairs", "driving"), ("stills", "image")):
        data = VideoFrames(str(spec_folder), 32, sample=sample, num_workers=0, batch_size=2)
        data.setup("fit")
        assert next(iter(data.train_dataloader()))[shape].shape == (2, 3, 32, 32)
    for task in ("self_reenactment", "cross_reenactment", "depth"):
        data = VideoFrames(str(spec_folder), 32, num_workers=0, batch_size=2, test=TestProtocol(task))
        data.setup("test")
        batch = next(iter(data.test_dataloader()))
        assert batch.task == task
        assert batch.mask.any() if task == "depth" else batch.target.shape == batch.driving.shape
