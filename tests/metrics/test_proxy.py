import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting
from datamodules.world.scene.view import images_of, render
from datamodules.world.seeds import stream
from metrics.base import Status
from metrics.distribution import frechet_distance
from metrics.face import AKD, CSIM, ExpressionError, HeadPose
from metrics.face_analysis import FaceAnalysisCache
from metrics.procface import shipped
from metrics.proxy import ProxyFD, ProxyFVD, pooled

PAIRED = (AKD, HeadPose, ExpressionError, CSIM)
FRAMES = 16


def faces_of(number: int, count: int = 4) -> torch.Tensor:
    """Moments of a person in one setting, ``count 3 64 64``."""
    person = make_person(stream(0, 8, 5000 + number), "light")
    motion = PortraitMotion(np.random.SeedSequence(number), 9.0)
    setting = make_setting(stream(0, 8, 5000 + number, 1), 64, 0.125)
    return images_of(render(person, setting, [motion(2.0 + 6 * i / count) for i in range(count)], 64))


@pytest.fixture(scope="module")
def portraits() -> torch.Tensor:
    return faces_of(0)


@pytest.fixture(scope="module")
def others() -> torch.Tensor:
    return faces_of(1)


def score(metric, preds, target):
    metric.update(preds, target, [f"video/{i}" for i in range(len(preds))])
    return float(metric.compute())


@pytest.mark.parametrize("kind", PAIRED)
def test_the_truth_is_perfect_a_blur_worse_and_another_worst(kind, portraits, others):
    sign = -1 if kind.card.higher_is_better else 1
    truth, blurred, other = (
        sign * score(kind("procface"), preds, portraits)
        for preds in (portraits, gaussian_blur(portraits, [9, 9], 1.5), others)
    )
    assert truth == pytest.approx(-1 if kind.card.higher_is_better else 0, abs=1e-5)
    assert truth < blurred < other


@pytest.mark.parametrize(("kind", "worst"), [(HeadPose, 90.0), (ExpressionError, 1.0), (CSIM, 0.0)])
def test_a_picture_without_a_face_is_a_counted_miss(kind, worst, portraits):
    grey = torch.full_like(portraits, 0.5)
    metric = kind("procface")
    metric.update(torch.cat([grey[:1], portraits[1:]]), torch.cat([portraits[:3], grey[3:]]), list("abcd"))
    assert metric.counts() == {"total": 4, "ok": 2, "missed": 1, "no_truth": 1}
    assert metric.per_sample()[metric.sample_key("a")] == (worst, Status.LOW_CONFIDENCE)
    assert np.isnan(metric.per_sample()[metric.sample_key("d")][0])


def test_names_say_that_they_are_proxies():
    assert [kind("procface").card.name for kind in PAIRED] == ["proxy-AKD", "proxy-pose", "proxy-expr", "proxy-ID"]
    for kind in (ProxyFD, ProxyFVD):
        assert kind.card.name.startswith("proxy-")
        assert "not comparable with published numbers" in kind.card.protocol


def test_a_picture_is_looked_at_once_by_all_proxies(portraits, others):
    cache = FaceAnalysisCache()
    for metric in (*(kind("procface", cache) for kind in PAIRED), ProxyFD(cache=cache)):
        metric.update(others, portraits, [f"v{i}/0" for i in range(4)])
    assert (cache.misses, cache.hits) == (8, 4 * 8)


def test_the_features_are_those_of_the_network(portraits, others):
    metric = ProxyFD()
    metric.update(others, portraits, [f"v{i}/0" for i in range(4)])
    with torch.no_grad():
        fake, real = (shipped(torch.device("cpu"))(x.mul(255).round().div(255)).features for x in (others, portraits))
    assert metric.compute().item() == pytest.approx(frechet_distance(fake, real), rel=1e-4)
    assert metric.n == 4


def test_clips_are_pooled_by_mean_deviation_and_step():
    clips = torch.tensor([[0.0, 2.0, 1.0], [5.0, 5.0, 5.0]], dtype=torch.float64)[..., None]
    expected = torch.tensor([[1.0, np.sqrt(2 / 3), 1.5], [5.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(pooled(clips), expected)
    torch.testing.assert_close(pooled(clips[:, :1]), torch.tensor([[0.0, 0, 0], [5.0, 0, 0]], dtype=torch.float64))


@pytest.fixture(scope="module")
def clips() -> list[torch.Tensor]:
    return [faces_of(number, FRAMES) for number in range(3)]


def test_clips_are_as_far_apart_as_they_differ(clips):
    truth = torch.stack(clips)
    distances = []
    for preds in (truth, gaussian_blur(truth.flatten(0, 1), [9, 9], 1.5).view_as(truth), truth[:, :1].expand_as(truth)):
        metric = ProxyFVD()
        metric.update(preds, truth, ["a/0", "b/0", "c/0"])
        distances.append(metric.compute().item())
        assert metric.n == 3
        assert len(metric.per_video_jackknife()) == 3
    assert distances[0] == 0
    assert distances[1] > 0
    assert distances[2] > 0


@pytest.mark.parametrize(("kind", "shape"), [(ProxyFD, (2, 16, 3, 64, 64)), (ProxyFVD, (2, 3, 64, 64))])
def test_what_has_another_shape_is_refused(kind, shape):
    with pytest.raises(ValueError, match="pass RGB"):
        kind().update(torch.rand(shape), torch.rand(shape), ["a/0", "b/0"])
