"""How edits are scored, shown, saved and read back."""

import argparse
import json

import pandas as pd
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks import score
from benchmarks.evaluation.callbacks import Evaluator, PredictionWriter
from benchmarks.evaluation.scorer import Scorer
from benchmarks.runs import Run
from benchmarks.tasks import editing as task
from datamodules.editing.folders import LIST, PairFolder
from datamodules.editing.protocols import EditBatches, EditProtocol
from datamodules.video.clips import Framing
from metrics.image import l1
from models.editing.references import WholeMask
from models.errors import UserError
from models.files import write_csv
from models.pixels import to_uint8
from models.reference import CopySource
from models.tasks import Context
from models.tasks.editing import Edited

SIDE = 24
QUIET = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_checkpointing": False}
EDITS = ("a person with a hat", "a person laughing", "a person crying")


@pytest.fixture
def truth(tmp_path):
    """Three exact pairs on disk."""
    folder, draw = tmp_path / "truth", torch.Generator().manual_seed(0)
    for number in range(3):
        source, other, drifted = torch.rand(3, 3, SIDE, SIDE, generator=draw)
        mask = torch.zeros(3, SIDE, SIDE)
        mask[:, 4 : 10 + number, 6:12] = 1
        pictures = {"source": source, "target": torch.where(mask > 0, other, source)}
        for part, picture in (pictures | {"mask": mask, "training_target": drifted}).items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            pixels = to_uint8(picture).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / part / f"val-{number:06d}.png")
    rows = [(f"val-{number:06d}", "a person", words) for number, words in enumerate(EDITS)]
    write_csv(folder / LIST, ["name", "source_prompt", "target_prompt"], rows)
    return folder


@pytest.fixture
def batches(truth):
    return EditBatches(PairFolder(truth, Framing(SIDE)), EditProtocol(), 2, 0)


def test_every_group_is_fed_what_it_asks_for(batches):
    given = batches[0]
    edited = Edited(1 - given.source, given.mask / 2, 24)
    fed = {name: part.arguments for name, part in task.feed(edited, given).items()}
    around = given.target, given.source, given.mask, given.training_target
    assert fed["picture"] == (edited.image, given.target)
    assert fed["edit"] == (edited.image, *around)
    assert fed["edit_words"] == (edited.image, given.target, given.source, list(EDITS[:2]))
    assert fed["identity"] == (edited.image, given.source)
    mask, exact = fed["edit_mask"]
    torch.testing.assert_close(mask, edited.mask.double(), rtol=0, atol=0.5 / 255)
    assert exact is given.mask
    assert fed["edit_cost"][0].tolist() == [24, 24]
    assert not {"edit_mask", "edit_cost"} & task.feed(Edited(edited.image, None), given).keys()


def test_edits_are_scored_against_the_perfect_ones(batches):
    scorer, errors = Scorer("editing"), []
    for given in batches:
        scorer.add(Edited(given.source, None), given)
        errors.append(l1(given.source, given.target))
    assert scorer.finish().values["L1"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-6)


def test_the_column_is_the_split_and_the_truth_the_edit_with_its_mask(batches):
    assert task.facts({"task": "editing"}) == {"split": "val"}
    assert task.facts({"task": "editing", "split": "ood", "instruction": "ignored"}) == {"split": "ood"}
    given = batches[0]
    before = task.truth(given)
    assert len(before) == 2
    given.mask = given.mask.flip(-1)
    assert before[0] != task.truth(given)[0]
    assert task.side(given) == SIDE


def test_the_picture_shows_input_mask_result_and_perfect_edit(batches):
    given = batches[0]
    source, mask, result, target = task.lines(Edited(1 - given.source, given.mask), given, 2)
    assert torch.equal(source, given.source)
    assert torch.equal(mask, given.mask.expand(-1, 3, -1, -1))
    assert torch.equal(result, 1 - given.source)
    assert torch.equal(target, given.target)
    assert len(task.lines(Edited(given.source, None), given, 2)) == 3


@pytest.fixture
def done(tmp_path, batches):
    """A test run of the input under a mask of ones, and what it predicts, on disk."""
    run = Run("test", "key", tmp_path / "runs")
    run.folder.mkdir(parents=True)
    loader = DataLoader(batches, batch_size=None)
    Trainer(**QUIET, callbacks=[Evaluator(run)]).test(WholeMask(SIDE), loader, verbose=False)
    writer = PredictionWriter(tmp_path / "predictions")
    Trainer(**QUIET, callbacks=[writer]).predict(WholeMask(SIDE), loader, return_predictions=False)
    return run, tmp_path


def options(place, **changes):
    given = {"task": "editing", "predictions": place / "predictions", "truth": place / "truth", "split": "val"}
    return argparse.Namespace(**{**given, "image_size": None, "max_frames": None, "label": "saved", **changes})


def test_what_was_predicted_scores_as_the_test_run_did(done):
    run, place = done
    saved = task.saved(options(place))
    saved.check()
    assert saved.facts == {"split": "val"}
    assert len(saved.files) == 6  # edits and masks
    arguments = options(place, scale="tiny", seed=0, results=place / "runs", config=[])
    folder = score.score(arguments, saved)
    record, tested = (json.loads(file.read_text()) for file in (folder / "metrics.json", run.record_file))
    for name in ("values", "truth", "specs", "n", "videos", "absent"):
        assert record[name] == tested[name]
    ours, theirs = (pd.read_parquet(where / "samples.parquet") for where in (folder, run.folder))
    pd.testing.assert_frame_equal(ours, theirs)
    assert (place / "predictions/val-000000.strip.png").is_file()


def test_masks_lie_beside_the_edits_and_come_back(done):
    _, place = done
    (edited, batch), *_ = task.saved(options(place)).batches()
    assert torch.equal(edited.image, batch.source)
    assert torch.equal(edited.mask, torch.ones(1, 1, SIDE, SIDE))
    for path in (place / "predictions/masks").iterdir():
        path.unlink()
    (edited, _), *_ = task.saved(options(place)).batches()
    assert edited.mask is None


class SoftMask(WholeMask):
    """The input under a soft mask of many levels between those of a file."""

    def edit(self, image, instruction, context):
        return Edited(image, torch.linspace(0, 0.2, SIDE * SIDE).view(1, 1, SIDE, SIDE).expand(len(image), -1, -1, -1))


def test_a_soft_mask_is_scored_as_its_file_is_read(tmp_path, batches):
    writer, loader = PredictionWriter(tmp_path / "predictions"), DataLoader(batches, batch_size=None)
    Trainer(**QUIET, callbacks=[writer]).predict(SoftMask(SIDE), loader, return_predictions=False)
    for edited, given in task.saved(options(tmp_path)).batches():
        drawn = SoftMask(SIDE).edit(given.source, (), Context())
        tested, read = (task.feed(each, given)["edit_mask"].arguments[0] for each in (drawn, edited))
        assert torch.equal(tested.float(), read.float())
        assert not torch.equal(drawn.mask, edited.mask)


def test_all_edits_may_lie_there_where_some_are_scored(done):
    _, place = done
    saved = task.saved(options(place, max_frames=2))
    assert [name for _, batch in saved.batches() for name in batch.video_id] == ["val-000000", "val-000002"]
    assert sorted(name for name, _ in saved.files) == ["val-000000", "val-000000", "val-000002", "val-000002"]


def test_a_method_without_masks_saves_none(tmp_path, batches):
    writer = PredictionWriter(tmp_path / "copies")
    loader = DataLoader(batches, batch_size=None)
    Trainer(**QUIET, callbacks=[writer]).predict(CopySource(SIDE), loader, return_predictions=False)
    assert [path.name for path in (tmp_path / "copies").iterdir() if path.is_dir()] == ["edited"]


def test_saved_edits_that_do_not_fit_are_refused_in_one_sentence(done):
    _, place = done
    edits, masks = place / "predictions/edited", place / "predictions/masks"
    with pytest.raises(UserError, match="Say what the edits are scored against with --truth"):
        task.saved(options(place, truth=None))
    Image.new("RGB", (8, 12)).save(edits / "val-000001.png")
    with pytest.raises(UserError, match=r"val-000001\.png' is 8 x 12 pixels, its truth 24 x 24"):
        task.saved(options(place)).check()
    (masks / "val-000002.png").unlink()
    with pytest.raises(UserError, match="masks' lacks 1 of 3 pairs, the first is 'val-000002'"):
        task.saved(options(place))
    Image.new("RGB", (SIDE, SIDE)).save(edits / "someone.png")
    with pytest.raises(UserError, match=r"someone\.png' is named as no pair"):
        task.saved(options(place))
    Image.new("RGB", (8, 8)).save(place / "truth/source/val-000000.png")
    with pytest.raises(UserError, match="not squares of one size; give --image-size"):
        task.saved(options(place))
