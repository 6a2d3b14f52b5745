from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from datamodules.world.motion import Motion
from datamodules.world.person import make_person
from datamodules.world.portraits import images_of
from datamodules.world.scene import render
from datamodules.world.seeds import stream
from datamodules.world.setting import make_setting
from metrics import proxy
from metrics.proxy import ProxyAKD, ProxyExpression, ProxyFD, ProxyFVD, ProxyID, ProxyPose, analyse, pooled

PAIRED = (ProxyAKD, ProxyPose, ProxyExpression, ProxyID)
needs_distance = pytest.mark.skipif(find_spec("metrics.distribution") is None, reason="needs metrics.distribution")


def faces_of(number: int) -> torch.Tensor:
    """Four moments of a person in one setting, ``4 3 64 64``."""
    person = make_person(stream(0, 8, 5000 + number), "light")
    motion = Motion(np.random.SeedSequence(number), 9.0)
    setting = make_setting(stream(0, 8, 5000 + number, 1), 64, 0.125)
    return images_of(render(person, setting, [motion(2.0 + 2 * i) for i in range(4)], 64, backend="auto"))


@pytest.fixture(scope="module")
def portraits() -> torch.Tensor:
    return faces_of(0)


@pytest.fixture(scope="module")
def others() -> torch.Tensor:
    return faces_of(1)


def score(kind, preds, target):
    metric = kind()
    metric.update(preds, target, [f"video/{i}" for i in range(len(preds))])
    return float(metric.compute())


@pytest.mark.parametrize("kind", PAIRED)
def test_the_truth_is_perfect_a_blur_worse_and_another_worst(kind, portraits, others):
    sign = -1 if kind.higher_is_better else 1
    truth, blurred, other = (
        sign * score(kind, preds, portraits) for preds in (portraits, gaussian_blur(portraits, [9, 9], 1.5), others)
    )
    assert truth == pytest.approx(-1 if kind.higher_is_better else 0, abs=1e-5)
    assert truth < blurred < other


@pytest.mark.parametrize(("kind", "worst"), [(ProxyPose, 90.0), (ProxyExpression, 1.0), (ProxyID, 0.0)])
def test_a_picture_without_a_face_is_a_counted_miss(kind, worst, portraits):
    grey = torch.full_like(portraits, 0.5)
    metric = kind()
    metric.update(torch.cat([grey[:1], portraits[1:]]), torch.cat([portraits[:3], grey[3:]]), list("abcd"))
    assert metric.misses() == {"total": 4, "missed": 1, "no_truth": 1}
    assert metric.per_sample()[metric.sample_key("a")] == (worst, proxy.NO_FACE_IN_GENERATED)
    value, status = metric.per_sample()[metric.sample_key("d")]
    assert np.isnan(value)
    assert status == proxy.NO_FACE_IN_TRUTH


def test_a_missed_face_is_an_inter_ocular_off(portraits):
    landmarks = analyse(portraits).landmarks.double()
    expected = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=1).mean()
    assert score(ProxyAKD, torch.zeros_like(portraits), portraits) == pytest.approx(float(expected))


def test_pose_is_the_angle_between_the_rotations():
    angle = torch.tensor(0.3, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])[None]
    still = torch.eye(3, dtype=torch.float64)[None]
    faces = [proxy.Faces(*[torch.zeros(1)] * 6)._replace(rotation=rotation) for rotation in (turn, still)]
    assert float(ProxyPose().compare(*faces)) == pytest.approx(np.degrees(0.3))


def test_a_picture_is_looked_at_once(portraits, monkeypatch):
    proxy._seen.clear()
    looks = []
    network = proxy.shipped(torch.device("cpu"))
    monkeypatch.setattr(proxy, "shipped", lambda device: lambda images: looks.append(len(images)) or network(images))
    first = analyse(torch.cat([portraits, portraits[:2]]))
    again = analyse(portraits[1:])
    assert sum(looks) == 4
    torch.testing.assert_close(again.landmarks, first.landmarks[1:4])
    torch.testing.assert_close(first.embedding[4:], first.embedding[:2])


def test_memory_is_bounded(portraits, monkeypatch):
    monkeypatch.setattr(proxy, "_KEPT", 3)
    analyse(portraits)
    assert len(proxy._seen) == 3


def test_names_say_that_they_are_proxies():
    for kind in (*PAIRED, ProxyFD, ProxyFVD):
        assert kind.name.startswith("proxy-")
        assert "not comparable with published numbers" in kind.protocol
        assert not kind.comparable


def test_clips_are_pooled_by_mean_deviation_and_step():
    features = torch.tensor([[0.0], [2.0], [1.0], [5.0]], dtype=torch.float64)
    expected = torch.tensor([[1.0, np.sqrt(2 / 3), 1.5], [5.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(pooled(features, [3, 1]), expected)


def test_frames_are_put_in_order_and_repeated_ones_dropped(portraits, others):
    metric = ProxyFVD()
    metric.update(portraits[[2, 0]], others[[2, 0]], ["v/2", "v/0"])
    metric.update(portraits[[1, 1, 0]], others[[1, 1, 0]], ["v/1", "v/1", "v/0"])
    _, generated, true = metric._frames()
    torch.testing.assert_close(generated, analyse(portraits[:3]).features.double())
    torch.testing.assert_close(true, analyse(others[:3]).features.double())


@needs_distance
@pytest.mark.parametrize("kind", [ProxyFD, ProxyFVD])
def test_sets_are_as_far_apart_as_they_differ(kind, portraits, others):
    names = ["v/0", "v/1", "w/0", "w/1"]
    distances = []
    for preds in (portraits, gaussian_blur(portraits, [9, 9], 1.0), others):
        metric = kind()
        metric.update(preds, portraits, names)
        distances.append(float(metric.compute()))
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("kind", [ProxyFD, ProxyFVD])
def test_nothing_and_one_sample_have_no_distance(kind, portraits):
    metric = kind()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert torch.isnan(metric.compute())
    metric.reset()
    metric.update(portraits[:1], portraits[:1], ["a/0"])
    assert torch.isnan(metric.compute())
