import json
import re
import shutil
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import cli, score
from benchmarks.agreement import __main__ as agreement
from benchmarks.procface import __main__ as procface
from benchmarks.proxyedit import __main__ as proxyedit
from benchmarks.report.collect import collect
from benchmarks.report.files import verify, write
from benchmarks.report.spec import load_all
from datamodules.video.clips import find_clips, read_frame
from models import files
from models.errors import UserError
from models.files import write_json
from tests.conftest import SPEC
from tests.saved_outputs import read

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "self_reenactment": ("dagan", "references/copy_source"),
    "depth": ("dagan_depth", "references/luminance_depth"),
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def done(portraits_root, tmp_path_factory):
    """Test runs of a reference row by task, and what it predicts."""
    results, found = tmp_path_factory.mktemp("runs"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for task, (system, variant) in CONFIGS.items():
            names = (f"{system}.yaml", f"tiny/{system}.yaml", f"variants/{variant}.yaml")
            args = [part for name in names for part in ("-c", str(ROOT / "benchmarks" / name))]
            args += [f"--data.init_args.root={portraits_root}", f"--data.init_args.portraits={json.dumps(SPEC)}"]
            args += ["--data.init_args.image_size=32", f"--results={results}", f"--data.init_args.test.task={task}"]
            args += ["--trainer.enable_progress_bar=false"]
            runs = [cli.build([kind, *args]).run_ for kind in ("test", "predict")]
            found[task] = runs[0].folder, runs[1].folder / "predictions"
    return found


@pytest.fixture(scope="module")
def portraits(done, portraits_root):
    """The set that the runs are of."""
    record = json.loads((done["self_reenactment"][0] / "metrics.json").read_text())
    return portraits_root / record["notes"]["data"].split()[1]


@pytest.fixture
def results(done, tmp_path):
    """Runs with a table in which the reference row of self-reenactment stands."""
    table = next(table for table in load_all() if table.name == "dagan_self")
    scores, provenance = collect({("copy source", "self", 0): done["self_reenactment"][0]})
    write(table, scores, provenance | {"scale": "tiny"}, tmp_path / "runs/tables/tiny")
    return tmp_path / "runs"


@pytest.fixture
def oracle(portraits, tmp_path):
    """The true frames, saved as PNG."""
    for clip in find_clips(portraits / "test"):
        folder = tmp_path / "oracle" / clip.name
        folder.mkdir(parents=True)
        for i, frame in enumerate(clip.read(range(len(clip)))):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{i:04d}.png")
    return tmp_path / "oracle"


def run(predictions, truth, results, label="mine", *more, task="self_reenactment"):
    arguments = ["--task", task, "--predictions", str(predictions), "--truth", str(truth), "--label", label]
    score.main([*arguments, "--results", str(results), *more])


def record_of(results, label):
    (folder,) = (folder for folder, record in score.records(results).items() if record.label == label)
    return json.loads((folder / "metrics.json").read_text()) | {"folder": folder}


def test_predicted_frames_score_as_the_test_run_did(done, portraits, results, capsys):
    folder, predictions = done["self_reenactment"]
    run(predictions, portraits / "test", results, "saved copy", "--table", "dagan_self")
    tested, scored = json.loads((folder / "metrics.json").read_text()), record_of(results, "saved copy")
    for name in ("values", "truth", "specs", "n", "videos"):
        assert scored[name] == tested[name]
    samples = [pd.read_parquet(Path(place) / "samples.parquet") for place in (folder, scored["folder"])]
    pd.testing.assert_frame_equal(*samples)
    text = capsys.readouterr().out
    assert "'saved copy' has the samples of 'Self-reenactment (DaGAN, Tables 1 and 2)'" in text
    cells = {line.split("|")[1].strip(): line.split("|")[2:] for line in text.splitlines() if line.startswith("| ")}
    numbers = [[cell.strip().strip("*") for cell in cells[name]] for name in ("saved copy", "copy source")]
    assert numbers[0][:-2] == numbers[1][:-2]
    assert numbers[0][-2] == "n/a (not counted)"  # what a saved frame cost nobody knows


def test_predicted_depth_scores_as_the_test_run_did(done, portraits, tmp_path, capsys):
    folder, predictions = done["depth"]
    run(predictions, portraits / "truth/test", tmp_path, task="depth")  # kind.txt says what the maps are
    tested, scored = json.loads((folder / "metrics.json").read_text()), record_of(tmp_path, "mine")
    assert scored["values"] == pytest.approx(tested["values"], rel=1e-12)
    assert scored["truth"] == tested["truth"]
    assert "| mine" in capsys.readouterr().out


def test_true_frames_saved_as_png_are_perfect_and_are_ranked(oracle, portraits, results, capsys):
    run(oracle, portraits / "test", results, "truth")
    scored = record_of(results, "truth")
    assert scored["values"]["L1"] == 0
    assert scored["values"]["SSIM"] == pytest.approx(1, abs=1e-12)
    assert np.isnan(scored["values"]["PSNR"])  # every frame is identical, left out and counted
    assert scored["n"] == 6 * 3  # frame 0 is the source, although the folder holds it
    text = capsys.readouterr().out
    assert re.search(r"\| truth +\| 0\.0000 \[0\.0000, 0\.0000\] +\| n/a \(no score\) ", text)
    assert f"files {scored['predictions']}" in text


def test_scoring_again_replaces_the_row(oracle, portraits, results, capsys):
    run(oracle, portraits / "test", results, "first")
    run(oracle, portraits / "test", results, "first")
    assert len(score.records(results)) == 1
    run(oracle, portraits / "test", results, "renamed")
    assert "scored as 'first'; that row is replaced" in capsys.readouterr().out
    assert [record.label for record in score.records(results).values()] == ["renamed"]
    before = record_of(results, "renamed")["predictions"]
    picture = next(oracle.glob("*/0002.png"))
    Image.fromarray(255 - np.array(Image.open(picture))).save(picture)
    run(oracle, portraits / "test", results, "renamed")
    assert record_of(results, "renamed")["predictions"] != before
    page = (results / "tables/tiny/dagan_self.md").read_text()
    assert page.count("| renamed ") == 1
    assert "| first" not in page
    verify(results / "tables/tiny")


def test_the_older_row_of_the_same_files_stays_until_the_new_one_is_written(tmp_path, monkeypatch):
    old = score.ScoredRecord("old", "0" * 12, "tiny", "depth", {})
    options = Namespace(task="depth", label="new", scale="tiny", seed=0, results=tmp_path, predictions="p", truth="t")
    saved = Namespace(without={}, digest="0" * 12, facts={}, batches=lambda: [])
    monkeypatch.setattr(score, "Scorer", lambda *_, **__: Namespace(finish=lambda: None))
    monkeypatch.setattr(score, "write_scores", lambda folder, _, facts: write_json(folder / "metrics.json", facts))
    write_json(tmp_path / "scored" / old.folder / "metrics.json", asdict(old))
    with monkeypatch.context() as patch:
        patch.setattr(files, "aside", full)
        with pytest.raises(UserError, match="full"):
            score.score(options, saved)
    assert [record.label for record in score.records(tmp_path).values()] == ["old"]
    score.score(options, saved)
    assert [record.label for record in score.records(tmp_path).values()] == ["new"]


def full(path):
    raise UserError("The disk is full.")


def test_every_file_and_table_that_is_named_counts():
    asked = ["--task", "avatar", "--predictions", "p", "--label", "mine", "--table", "a", "--table", "b", "c"]
    options = score.options_of([*asked, "-c", "a.yaml", "-c", "b.yaml", "c.yaml", "--config", "d.yaml"])
    assert options.config == ["a.yaml", "b.yaml", "c.yaml", "d.yaml"]
    assert options.table == ["a", "b", "c"]
    assert score.options_of(asked).config == []


def test_help_needs_no_task_and_a_task_is_asked_for_without_help(capsys):
    with pytest.raises(SystemExit) as ended:
        score.main(["--help"])
    assert ended.value.code == 0
    assert "--predictions" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        score.main(["--task", "avatar", "-h"])
    assert ended.value.code == 0
    assert "--drive" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        score.main(["--predictions", "p", "--label", "mine"])
    assert ended.value.code == 2
    assert "error: --task is missing" in capsys.readouterr().err


def test_a_scale_that_no_table_has_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        score.main(["--task", "depth", "--predictions", "p", "--label", "mine", "--scale", "tinny"])
    assert ended.value.code == 2
    assert "invalid choice: 'tinny'" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-1", "4294967296", "1.5"])
@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (score.main, ["--task", "self_reenactment", "--predictions", "x", "--truth", "y", "--label", "z"]),
        (agreement.main, []),
        (procface.main, ["train"]),
        (proxyedit.main, ["card"]),
    ],
)
def test_a_seed_that_is_none_is_refused_here_and_by_the_commands_beside(main, arguments, number, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--seed", number])
    assert stopped.value.code == 2
    assert f"argument --seed: {number} is no seed: give a number from 0 to 4294967295." in capsys.readouterr().err


def test_three_fits_under_one_label_are_one_row_with_a_spread(oracle, portraits, results, capsys):
    for seed in range(3):
        for picture in sorted(oracle.glob("*/*.png")):
            noisy = np.array(Image.open(picture)).astype(int) + (seed + 1)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(picture)
        run(oracle, portraits / "test", results, "mine", "--seed", str(seed))
    assert sorted(record.seed for record in score.records(results).values()) == [0, 1, 2]
    page = (results / "tables/tiny/dagan_self.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| mine "))
    assert " ± " in row


def test_other_samples_stand_apart(oracle, portraits, results, capsys):
    changed = shutil.copytree(portraits / "test", results / "other")
    picture = sorted(next(changed.iterdir()).glob("*.*"))[2]
    Image.fromarray(255 - read_frame(picture).permute(1, 2, 0).numpy()).save(picture)
    run(oracle, changed, results, "elsewhere")
    text = capsys.readouterr().out
    assert "'elsewhere' stands apart" in text
    assert "Other samples, not compared" in text
    assert "so the row stands apart" in text


def test_the_row_stays_when_the_table_is_printed_anew(oracle, portraits, results, done):
    run(oracle, portraits / "test", results, "kept")
    table = next(table for table in load_all() if table.name == "dagan_self")
    found = collect({("copy source", "self", 0): done["self_reenactment"][0]})
    whole, scores, _ = score.join(table, *found, results, "tiny")
    assert [(row.name, row.kind) for row in whole.rows][-1] == ("kept", "method")
    assert "kept" in set(scores["row"])
    assert "kept" not in {row.name for row in score.join(table, *found, results, "small")[0].rows}


def test_videos_and_single_pictures_are_read(portraits, tmp_path):
    clip = find_clips(portraits / "test")[0]
    frames = [frame.permute(1, 2, 0).numpy() for frame in clip.read(range(4))]
    for folder, chosen, rate in (
        ("truth", frames, 6),
        ("all", frames, 6),
        ("part", frames[1:], 6),
        ("slow", frames, 5),
    ):
        (tmp_path / folder).mkdir()
        _write_video(tmp_path / folder / "a.mp4", chosen, rate)
    (whole,) = read(tmp_path / "all", tmp_path / "truth").matches
    (part,) = read(tmp_path / "part", tmp_path / "truth").matches
    assert (whole.frames, whole.positions) == ([1, 2, 3], [1, 2, 3])
    assert (part.frames, part.positions) == ([1, 2, 3], [0, 1, 2])
    with pytest.raises(UserError, match=r"5 frames a second, .* 6; save it at the truth's rate"):
        read(tmp_path / "slow", tmp_path / "truth")
    (tmp_path / "stills").mkdir()
    Image.fromarray(frames[0]).save(tmp_path / "stills/face.png")
    stills = read(tmp_path / "stills", tmp_path / "stills", "cross_reenactment")
    ((outputs, batch),) = stills.batches()
    assert batch.sample_id == ["face/0000000"]
    torch.testing.assert_close(outputs, batch.target)


def _write_video(path, frames, rate):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def numbered(folder, numbers, name="x{}.png"):
    """A video 'a' of grey pictures whose level is 10 times their place."""
    (folder / "a").mkdir(parents=True)
    for i, number in enumerate(numbers):
        Image.new("RGB", (12, 12), (10 * i,) * 3).save(folder / "a" / name.format(number))
    return folder


@pytest.mark.parametrize(
    ("truth", "ours", "positions"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3]),
        ([1, 2, 3, 4], [2, 3, 4], [0, 1, 2]),
        ([1, 2, 3, 4], [0, 1, 2, 3], [1, 2, 3]),  # only indices have a 0
        ([7, 8, 9], [1, 2], [0, 1]),  # nor are these numbers of the truth
        ([0, 2, 4, 6], [2, 4, 6], [0, 1, 2]),
        ([1, 2, 3, 4], [1, 2, 3], "lacks 1 of 3 frames \\(4\\)"),  # frame 4 lost, or indices without the source
        ([0, 2, 4, 6], [0, 1, 2, 3], "lacks 2 of 3 frames .* has 2 that '.*' lacks"),
        ([0, 1, 2, 3], [1, 2, 3, 4], "has 1 that '.*' lacks \\(4\\)"),
        ([5, 6, 7], [1, 2, 3], "lacks 2 of 2 frames"),
    ],
)
def test_frames_are_matched_by_number_and_by_index_only_where_numbers_cannot_be_meant(truth, ours, positions, tmp_path):
    folders = numbered(tmp_path / "ours", ours), numbered(tmp_path / "truth", truth)
    if isinstance(positions, str):
        with pytest.raises(UserError, match=positions):
            read(*folders)
    else:
        (found,) = read(*folders).matches
        assert (found.frames, found.positions) == (list(range(1, len(truth))), positions)
        assert found.counts_from_0 == ([ours[p] for p in positions] != truth[1:])


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda folder: shutil.rmtree(sorted(folder.iterdir())[0]), r"1 of 6 videos are missing \(id\S+\); save one"),
        (
            lambda folder: shutil.copytree(sorted(folder.iterdir())[0], folder / "x"),
            r"1 are not in '.*' \(x\); save one",
        ),
        (lambda folder: next(folder.glob("*/0002.png")).unlink(), r"lacks 1 of 3 frames \(2\); name each frame"),
        (
            lambda folder: shutil.copy(next(folder.glob("*/0002.png")), next(folder.iterdir()) / "0009.png"),
            r"has 1 that '.*' lacks \(9\)",
        ),
        (
            lambda folder: Image.new("RGB", (64, 48)).save(next(folder.glob("*/0002.png"))),
            r"has frames of 64 x 48, the truth has 32 x 32; save them at that size",
        ),
        (shutil.rmtree, "There is no folder"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence_and_nothing_is_written(
    harm, sentence, oracle, portraits, tmp_path
):
    harm(oracle)
    with pytest.raises(SystemExit, match=sentence) as stopped:
        run(oracle, portraits / "test", tmp_path)
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / score.SCORED).exists()


def test_what_cannot_stand_in_a_table_is_said_before_anything_is_scored(oracle, portraits, tmp_path):
    with pytest.raises(SystemExit, match="has a row 'DaGAN' of its own"):
        run(oracle, portraits / "test", tmp_path, "DaGAN")
    with pytest.raises(SystemExit, match="which is the column to stand in: --motion relative"):
        run(oracle, portraits / "targets", tmp_path, task="cross_reenactment")
    with pytest.raises(SystemExit, match="has no test of self_reenactment absolute; name another"):
        run(oracle, portraits / "test", tmp_path, "mine", "--table", "depth")
    with pytest.raises(SystemExit, match="Say what the maps are with --kind"):
        run(oracle, portraits / "truth/test", tmp_path, task="depth")


def test_depth_from_16_bit_pictures_with_masks_of_their_own(tmp_path):
    generator = torch.Generator().manual_seed(0)
    depth = 0.6 + 0.1 * torch.rand(12, 12, generator=generator)
    for folder in ("maps", "truth", "masks"):
        (tmp_path / folder / "a").mkdir(parents=True)
    inverse = (20000 / depth).numpy().round().astype(np.uint16)
    Image.fromarray(inverse).save(tmp_path / "maps/a/0.png")
    np.save(tmp_path / "truth/a/0.npy", depth.numpy())
    Image.fromarray(np.full((12, 12), 255, np.uint8)).save(tmp_path / "masks/a/0.png")
    more = ["--kind", "disparity", "--masks", str(tmp_path / "masks")]
    run(tmp_path / "maps", tmp_path / "truth", tmp_path / "runs", "mine", *more, task="depth")
    values = record_of(tmp_path / "runs", "mine")
    assert values["values"]["AbsRel"] < 1e-4
    assert values["absent"] == {"NormalError": "no camera"}
    assert "n/a (no camera)" in (tmp_path / "runs/tables/tiny/depth.md").read_text()
    run(tmp_path / "maps", tmp_path / "truth", tmp_path / "runs", "wrong", "--kind", "depth", *more[2:], task="depth")
    assert record_of(tmp_path / "runs", "wrong")["values"]["AbsRel"] > 0.03  # the kind matters
