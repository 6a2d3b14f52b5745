"""The Scorer: which metrics a task has, what is missing, and what the face network costs."""

import re
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch

from benchmarks.evaluation import availability
from benchmarks.evaluation.callbacks import write_scores
from benchmarks.evaluation.scorer import Scorer
from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.markdown import markdown
from benchmarks.report.sheets import assemble
from metrics import backbones
from metrics.base import Scored
from metrics.face_analysers import load_analyser
from metrics.face_analysis import FaceAnalysisCache
from metrics.image import L1
from metrics.procface import SHA256
from models.errors import UserError
from models.tasks import find
from models.weights import FILES
from tests.benchmarks.evaluation.scoring import Clipwise, Large, Networked, scored, video

KEYS = ("lpips-alex", "2dfan4", "yunet-sface", "inception-tf2015", "i3d-k400")  # the official networks of reenactment


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
    monkeypatch.setattr("models.weight_files.find_spec", lambda package: None)
    batch = video("a", count=2, size=180)
    absent = scored(batch.target, batch).absent
    (line,) = capsys.readouterr().out.splitlines()
    wanting = {name for name, reason in absent.items() if reason == "weights absent"}
    by_pip = {"AKD (dlib)", "NME (dlib)", "CSIM (dlib)", "ID-L2 (dlib)"}
    fetched = {"LPIPS-alex", "AKD[2dfan4]", "NME[2dfan4]", "CSIM[yunet-sface]", "FID", "KID", "FVD", "KVD"}
    assert wanting == fetched | by_pip
    assert all(name in line for name in wanting)
    extras = r"'portrait-bench\[face\]' 'portrait-bench\[face-offline\]'$"
    files = re.search(rf"python -m models.weights fetch ([\w ]+) && pip install {extras}", line)
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
