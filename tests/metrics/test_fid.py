import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from metrics.distribution import frechet_distance, kernel_distance
from metrics.fid import FID, FVD, KID, KVD
from metrics.pictures import as_saved
from metrics.resize import clip_bilinear, resize


class Blocks(nn.Module):
    """Means of blocks, of pictures ``B 3 299 299`` or of clips ``B T 3 224 224``; remembers what it was given."""

    def forward(self, grey_levels):
        self.given = grey_levels
        frames = grey_levels if grey_levels.ndim == 4 else grey_levels.mean(1)
        return nn.functional.adaptive_avg_pool2d(frames, 2).flatten(1)


def _pictures(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


NAMES = [f"v{i}/0" for i in range(6)]


@pytest.mark.parametrize(("metric", "distance", "factor"), [(FID, frechet_distance, 1), (KID, kernel_distance, 1000)])
def test_pictures_are_rounded_resized_and_scored(metric, distance, factor):
    fake, real, network = _pictures(0, 6, 3, 32, 48), _pictures(1, 6, 3, 32, 48), Blocks()
    scored = metric(network)
    scored.update(fake, real, NAMES)
    assert network.given.shape == (6, 3, 299, 299)
    assert network.given.dtype == torch.float32
    assert 200 < network.given.max() <= 255
    features = [Blocks()(resize(as_saved(x) * 255, 299, "pil-bicubic")) for x in (fake, real)]
    assert scored.compute().item() == pytest.approx(factor * distance(*features), rel=1e-9)
    replicates = scored.factor * scored.replicates(scored.feature_sets())
    assert list(scored.per_video_jackknife().values()) == pytest.approx(replicates)
    assert scored.label() == f"{metric.card.name}@6"


def test_another_rule_of_resizing_is_another_metric():
    fake, real = _pictures(0, 6, 3, 128, 128), _pictures(1, 6, 3, 128, 128)
    metric, legacy = FID(Blocks()), FID(Blocks(), rule="tf1-bilinear")
    for each in (metric, legacy):
        each.update(fake, real, NAMES)
    assert legacy.label() == "FID-tf1-bilinear@6"
    assert "tf1-bilinear to 299 px" in legacy.card.protocol
    assert "Pillow bicubic" in metric.card.protocol
    assert metric.compute() != legacy.compute()
    with pytest.raises(ValueError, match="no rule of resizing"):
        FID(Blocks(), rule="nearest").update(fake, real, NAMES)


@pytest.mark.parametrize(("metric", "distance"), [(FVD, frechet_distance), (KVD, kernel_distance)])
def test_case_18_clips_are_cut_to_their_first_frames_and_scored(metric, distance):
    fake, real, network = _pictures(0, 6, 20, 3, 16, 24), _pictures(1, 6, 20, 3, 16, 24), Blocks()
    scored = metric(network)
    scored.update(fake, real, NAMES)
    assert network.given.shape == (6, 16, 3, 224, 224)
    features = [Blocks()(clip_bilinear(as_saved(x[:, :16]) * 255, 224)) for x in (fake, real)]
    assert scored.compute().item() == pytest.approx(distance(*features), rel=1e-9)
    assert scored.label() == f"{metric.card.name}@6"
    short = metric(Blocks(), frames=12)
    short.update(fake[:, :12], real[:, :12], NAMES)
    assert short.label() == f"{metric.card.name}-12f@6"
    assert "first 12 frames" in short.card.protocol


def test_case_35_wrong_pictures_and_clips_are_one_plain_sentence():
    pictures, clips = _pictures(0, 6, 3, 32, 32), _pictures(0, 6, 16, 3, 8, 8)
    for wrong, sentence in (
        (pictures * 2 - 1, r"\(x \+ 1\) / 2"),
        (pictures[:, :1], "pass RGB pictures B 3 H W"),
        ((pictures * 255).byte(), "floating-point"),
        (pictures * torch.nan, "nan or inf"),
    ):
        with pytest.raises(ValueError, match=sentence):
            FID(Blocks()).update(pictures, wrong, NAMES)
    for wrong, sentence in (
        (clips[:, :9], "has 9 frames where 16 are needed; pass longer clips, or frames=T of at least 10"),
        (pictures, "pass RGB clips B T 3 H W"),
        (clips * 255, r"pass RGB in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=sentence):
            FVD(Blocks()).update(clips, wrong, NAMES)
    with pytest.raises(ValueError, match="at least 10 frames, not 9"):
        KVD(Blocks(), frames=9)


def test_case_35_a_channel_order_or_a_flicker_changes_the_value():
    fake, real = _pictures(0, 6, 3, 32, 32) * torch.tensor([1, 0.6, 0.3])[:, None, None], _pictures(1, 6, 3, 32, 32)
    values = []
    for preds in (fake, fake.flip(1)):
        metric = FID(Blocks())
        metric.update(preds, real, NAMES)
        values.append(metric.compute().item())
    assert values[1] != pytest.approx(values[0], rel=0.01)


def test_the_official_network_is_loaded_at_the_first_use(monkeypatch):
    asked = []
    fake = SimpleNamespace(load_backbone=lambda key: asked.append(key) or Blocks())
    monkeypatch.setitem(sys.modules, "metrics.backbones", fake)
    metrics = FID(), KID(), FVD(), KVD()
    assert asked == []
    for metric, shape in zip(metrics, [(2, 3, 8, 8)] * 2 + [(2, 16, 3, 8, 8)] * 2, strict=True):
        metric.update(_pictures(0, *shape), _pictures(1, *shape), NAMES[:2])
        metric.update(_pictures(2, *shape), _pictures(3, *shape), NAMES[2:4])
    assert asked == ["inception-tf2015", "inception-tf2015", "i3d-k400", "i3d-k400"]
