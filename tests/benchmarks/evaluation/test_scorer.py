"""The Scorer: which metrics a task has, what is missing, set metrics, and mistakes that a score must show (case 35)."""

import json
import re
import time
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from skimage import data

from benchmarks.evaluation import availability
from benchmarks.evaluation.callbacks import write_scores
from benchmarks.evaluation.scorer import Scorer
from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import rebuild, write
from benchmarks.report.markdown import markdown
from benchmarks.report.results import SET_VALUE
from benchmarks.report.sheets import assemble
from benchmarks.report.verdicts import compare, rank, summarise
from metrics import backbones
from metrics.base import Scored
from metrics.crossed import crossed, pseudo_values
from metrics.face_analysers import load_analyser
from metrics.face_analysis import FaceAnalysisCache
from metrics.image import L1
from metrics.procface import SHA256
from models.errors import UserError
from models.tasks import find
from models.tasks.depth import DepthEstimate, DepthFrames
from models.tasks.reenactment import Reenactment
from models.weights import FILES
from tests.toys import ToySetMetric

KEYS = ("lpips-alex", "2dfan4", "yunet-sface", "inception-tf2015", "i3d-k400")  # the official networks of reenactment


def video(name, count=4, size=48, seed=0):
    """A batch of a crop of a photograph that wanders by two pixels a frame."""
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    start = 20 + 11 * seed
    frames = torch.stack([picture[:, start : start + size, 100 + 2 * t : 100 + 2 * t + size] for t in range(count)])
    names = [f"{name}/{t + 1:07d}" for t in range(count)]
    numbers = list(range(1, count + 1))
    named = {"task": "self_reenactment", "sample_id": names, "video_id": [name] * count, "frame": numbers}
    shown = {"source": frames[:1], "initial": frames[:1], "driving": frames[None], "target": frames[None]}
    return Reenactment(**named, **shown, number=numbers)


def part_of(batch, part, piece=0):
    listed = {name: getattr(batch, name)[part] for name in ("sample_id", "video_id", "frame", "number")}
    shown = {name: getattr(batch, name)[:, part] for name in ("driving", "target")}
    return replace(batch, piece=piece, **listed, **shown)


def scored(outputs, batch):
    scorer = Scorer(batch.task)
    scorer.add(outputs, batch)
    return scorer.finish()


class Networked(L1):
    card = replace(L1.card, name="networked", backbone="lpips-vgg")


class Large(L1):
    card = replace(L1.card, name="large", least_size=64)


class Clipwise(ToySetMetric):
    card = replace(ToySetMetric.card, name="clipwise", group="clip", clip_frames=4)

    def update(self, preds, target, sample_ids):
        assert preds.shape[:3] == (1, 4, 3)
        super().update(preds.flatten(1, 2)[:, :3], target.flatten(1, 2)[:, :3], sample_ids)


@pytest.fixture
def with_metrics(monkeypatch):
    def use(*metrics):
        listed = [metric if isinstance(metric, Scored) else metric.scored() for metric in metrics]
        monkeypatch.setattr("benchmarks.tasks.self_reenactment.METRICS", listed)
        monkeypatch.setattr(spec, "METRICS", {scored.card.name: scored.card for scored in listed})

    return use


def test_what_cannot_be_computed_is_named_with_its_reason_and_remedy(with_metrics, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with_metrics(L1, Networked, Large, Clipwise)
    batch = video("a", count=3)
    found = scored(batch.target, batch)
    reasons = {"networked": "weights absent", "large": "under 64 px", "clipwise": "1 of 1 videos under 4 frames"}
    assert found.absent == reasons
    assert found.values == {"L1": 0}
    assert found.weights == {}
    assert availability.specs(find("self_reenactment", "benchmarks").METRICS) == [
        metric.card.spec() for metric in (L1, Large, Clipwise)
    ]


def test_all_that_wants_a_network_is_told_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "find_spec", lambda package: None)
    batch = video("a", count=2, size=180)
    absent = scored(batch.target, batch).absent
    (line,) = capsys.readouterr().out.splitlines()
    wanting = {name for name, reason in absent.items() if reason == "weights absent"}
    assert wanting == {"LPIPS-alex", "AKD[2dfan4]", "NME[2dfan4]", "CSIM[yunet-sface]", "FID", "KID", "FVD", "KVD"}
    assert all(name in line for name in wanting)
    files = re.search(r"python -m models.weights fetch ([\w ]+) && pip install 'portrait-bench\[face\]'$", line)
    assert set(files[1].split()) == {name for key in KEYS for name in backbones.BACKBONES[key].weights}


def test_weights_without_their_package_are_no_failure(with_metrics, monkeypatch, tmp_path, capsys):
    class Packaged(L1):
        card = replace(L1.card, name="packaged", backbone="yunet-sface")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for file in backbones.BACKBONES["yunet-sface"].weights:
        FILES[file].path.parent.mkdir(parents=True, exist_ok=True)
        FILES[file].path.write_bytes(b"")
    monkeypatch.setattr(backbones, "find_spec", lambda package: None)
    with_metrics(L1, Packaged)
    batch = video("a")
    assert scored(batch.target, batch).absent == {"packaged": "package absent"}
    assert capsys.readouterr().out.endswith("To have them: pip install 'portrait-bench[face]'\n")


def test_small_pictures_want_no_network_of_photographs(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    batch = video("a", size=64)
    absent = scored(batch.target, batch).absent
    assert {absent[name] for name in ("FID", "KID", "FVD", "KVD", "AKD[2dfan4]")} == {"under 128 px"}
    assert absent["proxy-FD"] == "1 of at least 3 videos"
    assert "FID" not in capsys.readouterr().out


def test_a_metric_whose_weights_are_there_names_them(with_metrics, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    FILES["vgg16_imagenet"].path.parent.mkdir(parents=True)
    FILES["vgg16_imagenet"].path.write_bytes(b"")
    with_metrics(Networked)
    batch = video("a")
    assert FILES["vgg16_imagenet"].sha256 in scored(batch.target, batch).weights["lpips-vgg"]


def test_options_give_a_metric_a_name_and_a_specification(with_metrics):
    class Powered(L1):
        def __init__(self, power=1):
            super().__init__()
            self.power = power

        def update(self, preds, target, sample_ids):
            super().update(preds**self.power, target**self.power, sample_ids)

    squared = Scored(replace(L1.card, name="L1-squared"), partial(Powered, 2))
    with_metrics(L1, squared)
    batch = video("a")
    found = scored(batch.target * 0.5, batch)
    assert set(found.values) == {"L1", "L1-squared"} == set(found.samples["metric"])
    assert found.values["L1"] != found.values["L1-squared"]
    assert found.specs["L1-squared"] != L1.card.spec()


def test_a_clip_metric_sees_clips_that_start_later(with_metrics):
    """A pair list may ask for frames 5 to 8 alone."""
    with_metrics(Clipwise)
    scorer = Scorer("self_reenactment")
    for i, name in enumerate("abc"):
        batch = video(name, 4, seed=i)
        scorer.add(batch.target, replace(batch, frame=[5, 6, 7, 8]))
    assert scorer.finish().sets["clipwise"].n == 3


def test_a_clip_metric_sees_the_first_frames_of_each_video_once(with_metrics):
    with_metrics(Clipwise)
    scorer = Scorer("self_reenactment")
    for i, name in enumerate("abc"):
        whole = video(name, 8, seed=i)
        for piece, part in enumerate((slice(0, 5), slice(5, 8))):
            batch = part_of(whole, part, piece)
            scorer.add(batch.target, batch)
    found = scorer.finish()
    assert set(found.sets["clipwise"].replicates) == {"a", "b", "c"}
    assert found.sets["clipwise"].n == 3


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((4, 4), "2 of at least 3 videos"),
        ((4, 3, 4, 2), "2 of 4 videos under 4 frames"),
        ((4,), "1 of at least 3 videos"),
    ],
)
def test_a_set_too_small_or_too_short_is_counted_and_stops_nothing(counts, reason, with_metrics):
    with_metrics(L1, Clipwise)
    scorer = Scorer("self_reenactment")
    for i, count in enumerate(counts):
        batch = video(f"v{i}", count, seed=i)
        scorer.add(batch.target, batch)
    found = scorer.finish()
    assert found.absent == {"clipwise": reason}
    assert found.values == {"L1": 0}
    assert not found.sets


PROXIES = ("proxy-AKD", "proxy-ID", "proxy-pose", "proxy-expr")


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """Three noisy clips of 64 px scored twice, the second time with what the first saw of the truth; and the looks."""
    folder, looks, found = tmp_path_factory.mktemp("faces"), [], []
    for _ in range(2):
        scorer = Scorer("self_reenactment", faces=folder)
        for i in range(3):
            batch = video(f"v{i}", 16, 64, i)
            noise = 0.05 * torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(i))
            scorer.add((batch.target + noise).clamp(0, 1), batch)
        found.append(scorer.finish())
        looks.append(scorer.faces.misses)
    return found, looks, folder


def test_the_proxies_are_scored_at_the_size_that_their_network_knows(proxied):
    (found, _), _, _ = proxied
    assert set(found.values) >= {*PROXIES, "proxy-FD", "proxy-FVD"}
    assert {*PROXIES} <= set(found.samples["metric"])
    assert set(found.sets) == {"proxy-FD", "proxy-FVD"}
    assert (found.sets["proxy-FD"].n, found.sets["proxy-FVD"].n) == (48, 3)
    assert SHA256[:12] in found.weights["procface"]
    assert all(found.values[name] > 0 for name in ("proxy-AKD", "proxy-pose", "proxy-expr", "proxy-FD", "proxy-FVD"))


def test_the_truth_is_looked_at_once_for_all_tests(proxied):
    (first, second), looks, _ = proxied
    assert looks == [96, 48]
    assert second.values == first.values
    pd.testing.assert_frame_equal(second.samples, first.samples)


def test_a_damaged_file_of_faces_is_named_in_a_sentence(proxied, tmp_path):
    _, _, folder = proxied
    file = next(folder.rglob("*.safetensors"))
    broken = tmp_path / file.name
    broken.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"is not a readable record .* delete it, and it is made again"):
        FaceAnalysisCache().recall(load_analyser("procface"), torch.zeros(16, 3, 64, 64), broken)


ROWS = ("near", "far", "same")
BLUR = {"near": 0.98, "far": 0.9, "same": 0.98}


@pytest.fixture
def set_table(with_metrics, tmp_path):
    """A table of a set metric on 8 videos."""
    with_metrics(L1, ToySetMetric)
    found = {}
    for row in ROWS:
        scorer = Scorer("self_reenactment")
        for i in range(8):
            batch = video(f"v{i}", seed=i)
            scorer.add(batch.target * (BLUR[row] + 0.004 * (i % 3)), batch)
        found[row] = scorer.finish()
        (tmp_path / row).mkdir()
        write_scores(tmp_path / row, found[row], {"notes": {}})
    columns = [{"test": "self", "metric": name} for name in ("L1", "toy-FD")]
    claim = {"text": "near beats far", "better": "near", "worse": "far", "test": "self", "metric": "toy-FD"}
    table = spec.parse(
        {"title": "Sets", "name": "sets", "base": "dagan", "tests": {"self": {"task": "self_reenactment"}}}
        | {"columns": columns, "rows": [{"name": row, "configs": [], "kind": "method"} for row in ROWS]}
        | {"claims": [claim]}
    )
    places = {(row, "self", seed): tmp_path / row for row in ROWS for seed in (0, 1)}  # twice the same: draws nothing
    return table, places, found


def test_a_set_metric_has_a_jackknife_interval_and_a_paired_jackknife(set_table):
    _, places, found = set_table
    scores, _ = collect(places)
    near, far = (found[row].sets["toy-FD"] for row in ("near", "far"))
    cell = summarise(scores, "near", "self", "toy-FD")
    assert (cell.value, cell.videos, cell.frames, cell.set_size) == (near.value, 8, 32, 32)
    one, other = (pseudo_values([x.value], [list(x.replicates.values())]) for x in (near, far))
    expected = crossed([one], [[near.value]])
    assert (cell.low, cell.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    pair = crossed([other, -one], [[far.value], [-near.value]])[:4]
    compared = compare(scores, "near", "far", "self", "toy-FD")  # lower is better: the advantage is far minus near
    assert (compared.advantage, compared.low, compared.high, compared.p) == pytest.approx(tuple(pair), rel=1e-9)
    assert rank(scores, ROWS, "self", "toy-FD") == {"near": "best", "same": "best", "far": "second"}


def test_a_replicate_is_the_value_of_the_set_without_the_video(set_table):
    _, _, found = set_table
    scorer = Scorer("self_reenactment")
    for i in range(1, 8):
        batch = video(f"v{i}", seed=i)
        scorer.add(batch.target * (BLUR["far"] + 0.004 * (i % 3)), batch)
    assert scorer.finish().values["toy-FD"] == pytest.approx(found["far"].sets["toy-FD"].replicates["v0"], rel=1e-12)


def test_a_set_metric_is_a_column_that_prints_n_and_rebuilds_byte_for_byte(set_table, tmp_path):
    table, places, _ = set_table
    write(table, *collect(places), tmp_path / "out")
    text = (tmp_path / "out/sets.md").read_text()
    assert "toy-FD@32 ↓ (x)" in text
    assert "never a bootstrap" in text
    assert "**holds**" in text
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    rebuild("sets", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert pd.read_csv(tmp_path / "out/sets.csv").set_index(["row", "metric"])["set_size"]["far", "toy-FD"] == 32


def test_sets_of_other_videos_are_not_compared(set_table):
    table, places, _ = set_table
    scores, provenance = collect(places)
    fewer = scores[(scores["row"] != "far") | (scores["video_id"] != "v0")]
    assert compare(fewer, "near", "far", "self", "toy-FD") is None
    assert compare(fewer, "near", "far", "self", "L1").videos == 7  # means of videos are, on the common ones
    resized = scores.copy()
    resized.loc[(resized["row"] == "far") & (resized["video_id"] == SET_VALUE), "n_frames"] = 28
    assert compare(resized, "near", "far", "self", "toy-FD") is None
    assert rank(resized, ROWS, "self", "toy-FD") == {}
    sheet = assemble(table, resized, provenance)
    assert sheet.claims[0].outcome == "n/a (other videos)"
    assert "toy-FD@N ↓ (x)" in markdown(sheet)
    assert "@28" in markdown(sheet)


def test_scores_of_another_version_are_left_out_and_said_to_be_missing(set_table, tmp_path):
    table, places, _ = set_table
    record = json.loads((tmp_path / "far/metrics.json").read_text())
    record["specs"] |= {"toy-FD": "toy-FD@00000000"}
    record["absent"] = {"L1": "weights absent"}
    (tmp_path / "far/metrics.json").write_text(json.dumps(record))
    scores, provenance = collect(places)
    assert "far" not in set(scores.loc[scores["metric"] == "toy-FD", "row"])
    text = markdown(assemble(table, scores, provenance))
    assert "n/a (another version of the metric)" in text


def test_what_is_absent_is_printed_in_its_column(with_metrics, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with_metrics(L1, Networked)
    batch = video("a")
    write_scores(tmp_path, scored(batch.target, batch), {})
    columns = [{"test": "self", "metric": name} for name in ("L1", "networked")]
    content = {"title": "t", "base": "b", "tests": {"self": {"task": "self_reenactment"}}, "columns": columns}
    table = spec.parse(content | {"rows": [{"name": "row", "configs": [], "kind": "method"}]})
    sheet = assemble(table, *collect({("row", "self", 0): tmp_path}))
    assert "n/a (weights absent)" in markdown(sheet)
    assert "truth of self" in sheet.origin


def test_the_truth_has_one_digest_whatever_the_batches_and_the_method():
    whole, halves = Scorer("self_reenactment"), Scorer("self_reenactment")
    batch = video("a")
    whole.add(batch.target * 0.5, batch)
    for piece in (slice(2, 4), slice(0, 2)):
        halves.add(batch.target[:, piece], part_of(batch, piece))
    assert whole.finish().truth == halves.finish().truth
    changed = replace(batch, target=batch.target.roll(1, -1))
    assert scored(batch.target, changed).truth != scored(batch.target, batch).truth


# Case 35: what happens to a score if outputs are handed over wrongly.


@pytest.fixture(scope="module")
def good():
    """Outputs that are good, not perfect: the truth with a little noise."""
    batch = video("a")
    noise = 0.004 * torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0))
    return (batch.target + noise).clamp(0, 1), batch


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x * 2 - 1, lambda x: x * 255, lambda x: (x * 255).round().byte()],
    ids=["-1..1", "0..255", "uint8"],
)
def test_a_wrong_range_is_caught(good, wrong):
    outputs, batch = good
    with pytest.raises(ValueError, match=r"pass RGB in|pass a floating-point tensor"):
        scored(wrong(outputs), batch)


@pytest.mark.parametrize(
    "wrong", [lambda x: x.flip(2), lambda x: x.roll(1, 1), lambda x: x.roll(1, -1)], ids=["BGR", "frame", "pixel"]
)
def test_wrong_channels_frames_or_pixels_make_every_score_worse(good, wrong):
    outputs, batch = good
    right, moved = (scored(part, batch).values for part in (outputs, wrong(outputs)))
    assert moved["L1"] > 1.5 * right["L1"]
    assert moved["PSNR"] < right["PSNR"] - 3
    assert moved["SSIM"] < right["SSIM"] - 0.02


def test_swapped_pictures_change_no_score_but_the_truth(good):
    outputs, batch = good
    right, swapped = scored(outputs, batch), scored(batch.target, replace(batch, target=outputs))
    assert swapped.values == pytest.approx(right.values, rel=1e-12)  # L1, PSNR and SSIM are symmetric
    assert swapped.truth != right.truth


def test_swapped_or_mislabelled_depth_moves_the_score():
    generator = torch.Generator().manual_seed(0)
    depth = 0.6 + 0.2 * torch.rand(2, 1, 16, 16, generator=generator)
    guess = depth + 0.03 * torch.randn(depth.shape, generator=generator)
    mask, camera = torch.ones_like(depth, dtype=torch.bool), torch.eye(3).expand(2, 3, 3)
    named = {"task": "depth", "sample_id": ["a/0", "b/0"], "video_id": ["a", "b"], "frame": [0, 0]}
    batch = DepthFrames(**named, image=None, depth=depth, mask=mask, K=camera)
    right = scored(DepthEstimate(guess, "depth"), batch)
    swapped = scored(DepthEstimate(depth, "depth"), replace(batch, depth=guess))
    assert abs(swapped.values["RMSE"] / right.values["RMSE"] - 1) > 1e-3
    for kind in ("closeness", "disparity"):
        moved = scored(DepthEstimate(guess, kind), batch)
        assert moved.values["RMSE"] > 1.5 * right.values["RMSE"]
        assert set(moved.samples["status"]) == {7}  # no positive scale fits


def test_the_time_of_scoring_is_that_of_the_metrics(good, with_metrics):
    class Slow(L1):
        card = replace(L1.card, name="slow")

        def update(self, preds, target, sample_ids, status=None):
            time.sleep(0.2)
            super().update(preds, target, sample_ids)

    outputs, batch = good
    started = time.perf_counter()
    with_metrics(Slow)
    seconds = scored(outputs, batch).seconds
    assert 0.2 <= seconds <= time.perf_counter() - started
