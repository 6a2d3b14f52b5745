"""Edit pairs as training samples and test batches, the portrait world's and anybody's."""

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image

from datamodules.base import DataError, EpochSampler
from datamodules.editing import made
from datamodules.editing.folders import PairFolder
from datamodules.editing.pairs import EditingPairs
from datamodules.editing.protocols import EditBatches, EditProtocol
from datamodules.editing.samples import CANVAS_PROMPT, EditSamples
from datamodules.video.clips import Framing
from datamodules.world.sets.edit_pairs import EditSpec, draw_pair, draw_training_pair, pair_words
from models.errors import UserError
from tests.datamodules.editing.conftest import SIDE, pictures

SPEC = EditSpec(SIDE, 20, 9, 8)


def data(root: Path, sample="pairs", size=40, **options) -> EditingPairs:
    module = EditingPairs(str(root), SPEC, SIDE, sample, size, batch_size=4, num_workers=0, **options)
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    return module


def as_stored(picture: torch.Tensor) -> torch.Tensor:
    return (picture * 255).round() / 255


@pytest.mark.usefixtures("quick_pairs")
def test_pairs_hold_the_source_and_the_imperfect_target_with_their_words(tmp_path: Path):
    samples = data(tmp_path).train_set
    first = [samples[number] for number in range(20)]
    assert sorted(sample["name"] for sample in first) == [f"train-{i:06d}" for i in range(20)]  # each once
    for sample in first:
        index = int(sample["name"].removeprefix("train-"))
        source, target, _ = pictures("train", index, 3)
        assert torch.equal(sample["source"], as_stored(source))
        assert torch.equal(sample["target"], as_stored(target))
        assert (sample["source_prompt"], sample["target_prompt"]) == pair_words(index)
    again = [samples[number]["name"] for number in range(20, 40)]
    assert sorted(again) == sorted(sample["name"] for sample in first)
    assert again != [sample["name"] for sample in first]


@pytest.mark.usefixtures("quick_pairs")
def test_pictures_are_sources_and_targets_each_with_its_own_words(tmp_path: Path):
    samples = data(tmp_path, "pictures").train_set
    seen = {samples[number]["image"].numpy().tobytes(): samples[number]["prompt"] for number in range(40)}
    for index in range(20):
        for picture, words in zip(pictures("train", index, 2), pair_words(index), strict=True):
            assert seen[as_stored(picture).numpy().tobytes()] == words
    assert len(seen) == 40


@pytest.mark.usefixtures("quick_pairs")
def test_batches_of_pictures_are_canvases_in_the_share_that_is_asked_for(tmp_path: Path):
    module = data(tmp_path, "pictures", 400, canvases=0.25)
    batches = list(module.train_dataloader())
    wide = [batch for batch in batches if batch["image"].shape == (4, 3, SIDE, 2 * SIDE)]
    assert len(batches) == 100
    assert 12 <= len(wide) <= 38  # 25 are expected: three deviations
    assert all(set(batch["prompt"]) == {CANVAS_PROMPT} for batch in wide)
    assert all(batch["image"].shape[-1] in (SIDE, 2 * SIDE) for batch in batches)
    source, _, other = pictures("train", 0, 3)
    every = data(tmp_path, "canvases").train_set
    shown = {every[number]["image"].numpy().tobytes() for number in range(8)}
    assert as_stored(torch.cat([source, other], -1)).numpy().tobytes() in shown


@pytest.mark.usefixtures("quick_pairs")
def test_every_process_draws_the_same_kind_of_batch(tmp_path: Path):
    folder = data(tmp_path).train_set.folder
    samples = EditSamples(folder, "pictures", 0.5, 64, 8, 0)
    kinds = []
    for rank in (0, 1):
        sampler = EpochSampler(samples, 2, rank)
        sampler.set_epoch(3)
        kinds.append([samples[number]["prompt"] == CANVAS_PROMPT for number in sampler])
    assert kinds[0] == kinds[1]
    assert all(len(set(kinds[0][at : at + 4])) == 1 for at in range(0, 32, 4))
    assert len(set(kinds[0])) == 2


@pytest.mark.usefixtures("quick_pairs")
@pytest.mark.parametrize("split", ["val", "ood"])
def test_a_test_batch_holds_the_perfect_edits_the_exact_masks_and_the_words(tmp_path: Path, split: str):
    batches = list(data(tmp_path, test=EditProtocol(split=split)).test_dataloader())
    assert [len(batch.frame) for batch in batches] == ([4, 4, 1] if split == "val" else [4, 4])
    batch = batches[1]
    assert batch.video_id == [f"{split}-{i:06d}" for i in range(4, 8)]
    assert batch.sample_id == [f"{name}/0000000" for name in batch.video_id]
    assert (batch.task, batch.asked, batch.conditions) == ("editing", None, {})
    for place, index in enumerate(range(4, 8)):
        source, target, drifted = pictures(split, index, 3)
        assert torch.equal(batch.source[place], as_stored(source))
        assert torch.equal(batch.target[place], as_stored(target))
        assert torch.equal(batch.training_target[place], as_stored(drifted))
        assert torch.equal(batch.mask[place], (source[:1] > 0.5).float())
        assert batch.prompts[place] == pair_words(index)


@pytest.mark.usefixtures("quick_pairs")
def test_the_controls_change_the_instruction_alone(tmp_path: Path):
    given, ignored, shuffled = (
        next(iter(data(tmp_path, test=EditProtocol(instruction=kind)).test_dataloader()))
        for kind in ("given", "ignored", "shuffled")
    )
    assert ignored.asked == tuple(source for source, _ in given.prompts)
    known = {pair_words(index) for index in range(8)}
    for place, (source, target) in enumerate(given.prompts):
        assert shuffled.asked[place] != target
        assert (source, shuffled.asked[place]) in known  # an edit of such a picture
    for other in (ignored, shuffled):
        assert other.prompts == given.prompts
        assert torch.equal(other.target, given.target)


@pytest.mark.usefixtures("quick_pairs")
def test_the_exact_mask_may_be_given_and_fewer_pairs_be_scored(tmp_path: Path):
    (batch,) = data(tmp_path, test=EditProtocol(exact_mask=True, max_frames=3)).test_dataloader()
    assert batch.video_id == ["val-000000", "val-000004", "val-000008"]
    assert torch.equal(batch.conditions["mask"], batch.mask)


@pytest.mark.parametrize("options", [{"split": "train"}, {"instruction": "reversed"}, {"max_frames": 0}])
def test_a_protocol_that_cannot_be_is_refused(options: dict):
    with pytest.raises(DataError, match=next(iter(options))):
        EditProtocol(**options)


def test_pairs_on_disk_are_those_of_the_world_and_a_cut_off_call_goes_on(tmp_path: Path):
    spec = EditSpec(32, 2, 1, 1)
    made.make_pairs(spec, ["train"], tmp_path, workers=0)
    folder = made.split_folder(spec, "train", tmp_path)
    source, target, canvas = draw_training_pair(spec, 1)
    pairs = PairFolder(folder, Framing(32))
    assert torch.equal(torch.stack(pairs.aligned("train-000001")), as_stored(torch.stack([source, target])))
    assert torch.equal(pairs.canvas("train-000001"), as_stored(canvas))
    kept = (folder / "source" / "train-000000.png").stat().st_mtime_ns
    (folder / "world.json").rename(folder / ".world.json")
    (folder / "source" / "train-000001.png").unlink()
    (folder / "prompts.csv").unlink()
    made.make_pairs(spec, ["train", "val"], tmp_path, workers=0)
    assert len(PairFolder(folder, Framing(32))) == 2
    assert (folder / "source" / "train-000000.png").stat().st_mtime_ns == kept
    tested, pair = PairFolder(made.split_folder(spec, "val", tmp_path), Framing(32)), draw_pair(spec, "val", 0)
    assert torch.equal(tested.mask("val-000000"), as_stored(pair.mask))
    outside = tested.mask("val-000000") == 0
    stored_source, stored_target = tested.aligned("val-000000")
    assert torch.equal(stored_source[:, outside[0]], stored_target[:, outside[0]])


def test_a_split_is_named_by_what_decides_it_alone(tmp_path: Path):
    def place(split: str, **changes: object) -> Path:
        return made.split_folder(replace(SPEC, **changes), split, tmp_path)

    assert place("train", val=3) == place("train")
    for change in ({"train": 3}, {"severity": 2.0}, {"seed": 1}, {"image_size": 32}):
        assert place("train", **change) != place("train")
    assert len({place("train"), place("val"), place("ood")}) == 3


@pytest.mark.usefixtures("quick_pairs")
def test_a_run_makes_what_it_needs_alone(tmp_path: Path):
    for stage, split in (("fit", "train"), ("test", "ood")):
        module = EditingPairs(
            str(tmp_path / stage), SPEC, SIDE, "pairs", 8, num_workers=0, test=EditProtocol(split="ood")
        )
        module.trainer = Trainer(logger=False, accelerator="cpu")
        module.trainer.state.fn = stage
        module.prepare_data()
        assert [path.name.partition("-")[0] for path in (tmp_path / stage).iterdir()] == [split]


@pytest.mark.usefixtures("quick_pairs")
def test_lightning_moves_test_batches_and_hands_on_training_batches(tmp_path: Path):
    seen = []

    class Watching(LightningModule):
        def training_step(self, batch, batch_idx):
            seen.append(batch)

        def test_step(self, batch, batch_idx):
            seen.append(batch)

        def configure_optimizers(self):
            return None

    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer, module = Trainer(max_epochs=1, **quiet), data(tmp_path, size=8)
    trainer.fit(Watching(), module)
    trainer.test(Watching(), module, verbose=False)
    assert Counter(type(batch).__name__ for batch in seen) == {"dict": 2, "Editing": 3}
    assert len(seen[0]["target_prompt"]) == 4


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two pairs of somebody's own, of any mode and shape."""
    folder = tmp_path / "own"
    for part, mode in (("source", "L"), ("target", "RGBA")):
        (folder / part).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new(mode, (40, 30), 100 if mode == "L" else (255, 0, 0, 255)).save(folder / part / f"{name}.png")
    write_list(folder, [["a", "plain", "with a hat"], ["b", "plain", "laughing"]])
    return folder


def write_list(folder: Path, rows: list[list[str]], header=("name", "source_prompt", "target_prompt")) -> None:
    with (folder / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_somebodys_own_pairs_are_learnt_from_whatever_their_mode_and_size(tmp_path: Path, own: Path):
    module = EditingPairs(str(tmp_path), SPEC, SIDE, "pairs", 4, folder=str(own), num_workers=0)
    module.setup("fit")
    samples = [module.train_set[number] for number in range(2)]
    assert {sample["target_prompt"] for sample in samples} == {"with a hat", "laughing"}
    assert torch.equal(samples[0]["source"], torch.full((3, SIDE, SIDE), 100 / 255))
    assert torch.equal(samples[0]["target"][:, 0, 0], torch.tensor([1.0, 0, 0]))
    assert EditingPairs.reads({"folder": str(own)}, "fit") == [own]
    assert EditingPairs.reads({"folder": str(own)}, "test") == []
    assert "own" in module.notes()["data"]


def without_list(folder: Path) -> None:
    (folder / "prompts.csv").unlink()


def without_words(folder: Path) -> None:
    write_list(folder, [["a", "plain", ""]])


def other_columns(folder: Path) -> None:
    write_list(folder, [["a", "plain", "b"]], ("picture", "before", "after"))


def empty(folder: Path) -> None:
    write_list(folder, [])


def twice(folder: Path) -> None:
    write_list(folder, [["a", "plain", "b"], ["a", "plain", "c"]])


def without_target(folder: Path) -> None:
    (folder / "target" / "b.png").unlink()


def binary(folder: Path) -> None:
    (folder / "prompts.csv").write_bytes(b"\xff\xfe\x00\x80name")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without_list, r"There is no '.*prompts.csv': save prompts.csv with the columns name, source_prompt"),
        (without_words, "lacks a name or words in its row 2"),
        (other_columns, "lacks a name or words in its row 2"),
        (empty, "names no pair"),
        (twice, "names 'a' twice"),
        (without_target, "no picture for 1 of 2 pairs in '.*target', the first is 'b'"),
        (binary, "is not a readable table"),
    ],
)
def test_a_folder_that_is_no_set_of_pairs_is_refused_in_one_sentence(own: Path, spoil, sentence: str):
    spoil(own)
    with pytest.raises(DataError, match=sentence):
        PairFolder(own, Framing(SIDE))


def test_pictures_and_masks_that_do_not_fit_are_refused(own: Path):
    Image.new("L", (20, 30)).save(own / "target" / "a.png")
    (own / "mask").mkdir()
    Image.new("L", (20, 30), 255).save(own / "mask" / "a.png")
    Image.new("1", (40, 30)).save(own / "mask" / "b.png")
    (own / "source" / "b.png").write_bytes(b"no picture")
    folder = PairFolder(own, Framing(SIDE))
    with pytest.raises(DataError, match=r"target/a\.png' is 20 x 30 pixels, its source 40 x 30"):
        folder.aligned("a")
    with pytest.raises(DataError, match=r"mask/a\.png' is 20 x 30 pixels, its source 40 x 30"):
        folder.mask("a")
    with pytest.raises(DataError, match="not a readable picture"):
        folder.picture("source", "b")
    shutil.copy(own / "target" / "b.png", own / "source" / "b.png")
    with pytest.raises(DataError, match="all black"):
        folder.mask("b")
    Image.new("1", (40, 30), 1).save(own / "mask" / "b.png")
    torch.testing.assert_close(folder.mask("b"), torch.ones(1, SIDE, SIDE))


@pytest.mark.parametrize(
    ("sample", "options", "sentence"),
    [
        ("pictures", {"canvases": 0.5, "size": 41}, "no whole number of batches of 4"),
        ("pictures", {"canvases": 1.5}, "give a share from 0 to 1"),
        ("pairs", {"canvases": 0.5}, "and 0 with pairs"),
    ],
)
@pytest.mark.usefixtures("quick_pairs")
def test_shares_of_canvases_that_cannot_be_are_refused(tmp_path: Path, sample, options, sentence):
    with pytest.raises(DataError, match=sentence):
        data(tmp_path, sample, **options)


def test_pairs_without_canvases_or_masks_or_with_one_instruction_say_so(tmp_path: Path, own: Path):
    with pytest.raises(DataError, match="holds no canvas"):
        EditingPairs(str(tmp_path), SPEC, SIDE, "canvases", 4, folder=str(own)).setup("fit")
    folder = PairFolder(own, Framing(SIDE))
    with pytest.raises(UserError, match="holds no masks"):
        EditBatches(folder, EditProtocol(), 2, 0)
