import numpy as np
import pytest
import torch
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from metrics.geometry import (
    GeodesicError,
    StandardisedVertexError,
    VertexError,
    geodesic_degrees,
    procrustes,
    standardised_vertex_error,
    umeyama,
    vertex_error,
    vertex_spread,
)


def _rotations(count=50, seed=0):
    return Rotation.random(count, rng=np.random.default_rng(seed))


def _meshes(seed=0):
    return torch.from_numpy(0.1 * np.random.default_rng(seed).normal(size=(3, 40, 3)))


def test_case_27_the_angle_is_that_of_scipy():
    first, second = _rotations(), _rotations(seed=1)
    expected = np.degrees((first * second.inv()).magnitude())
    ours = geodesic_degrees(*(torch.from_numpy(r.as_matrix()) for r in (first, second)))
    assert np.allclose(ours, expected, atol=1e-10, rtol=0)
    radians = (first * second.inv()).magnitude()
    assert np.allclose(ours.numpy() / radians, 57.29577951308232, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 15.0, 90.0, 179.9999999, 180.0])
def test_case_27_small_and_large_angles_keep_their_digits_and_nothing_wraps(angle):
    axis = np.array([0.36, 0.48, 0.8])
    start = _rotations(1).as_matrix()[0]
    turn = Rotation.from_rotvec(np.radians(angle) * axis).as_matrix()
    measured = geodesic_degrees(torch.from_numpy(turn @ start), torch.from_numpy(start))
    assert measured.item() == pytest.approx(angle, abs=1e-10)
    across = [Rotation.from_euler("y", degrees, degrees=True).as_matrix() for degrees in (179, -179)]
    assert geodesic_degrees(*map(torch.from_numpy, across)).item() == pytest.approx(2, abs=1e-10)


def test_case_35_mutations_of_the_angle():
    first, second = (torch.from_numpy(_rotations(20, seed).as_matrix()) for seed in (0, 1))
    right = geodesic_degrees(first, second)
    assert torch.allclose(geodesic_degrees(second, first), right, atol=1e-10)  # documented: interchangeable
    assert not torch.allclose(geodesic_degrees(first.mT, second), right, atol=1)
    assert not torch.allclose(geodesic_degrees(first.roll(1, 0), second), right, atol=1)
    for wrong, sentence in (
        (2 * first, "no rotation matrix"),
        (-first, "no rotation matrix"),
        (first * torch.nan, "nan or inf"),
        (first[:, :2], r"\.\.\. 3 3"),
        (first[:3], r"\.\.\. 3 3"),
        (first.long(), "floating-point"),
    ):
        with pytest.raises(ValueError, match=sentence):
            geodesic_degrees(wrong, second)
    metric = GeodesicError()
    metric.update(first.float(), second.float(), [f"a/{i}" for i in range(20)])
    assert metric.compute().item() == pytest.approx(right.mean().item(), abs=1e-4)


def test_case_29_a_similarity_is_removed_by_procrustes_and_analytic_without():
    target = _meshes()
    rotation = torch.from_numpy(_rotations(1).as_matrix()[0])
    moved = 1.7 * target @ rotation.T + torch.tensor([0.2, -0.1, 0.05])
    assert vertex_error(moved, target, "similarity").max() < 1e-10
    assert (procrustes(moved, target, scaled=True) - target).square().max() < 1e-29
    rigid = target @ rotation.T + 0.3
    assert vertex_error(rigid, target, "rigid").max() < 1e-10
    assert (vertex_error(moved, target, "rigid") > 10).all()
    offset = torch.tensor([0.003, 0.004, 0.012])
    assert torch.allclose(vertex_error(target + offset, target), torch.full((3,), 13.0).double(), atol=1e-10)
    expected = (1000 * np.linalg.norm((moved - target).numpy(), axis=2)).mean(1)
    assert np.allclose(vertex_error(moved, target), expected, atol=1e-10)


def test_case_29_the_similarity_fit_is_that_of_scipy_and_never_a_reflection():
    target, preds = _meshes(), _meshes(1) + 0.5 * _meshes()
    residual = (procrustes(preds, target, scaled=True) - target).square().sum((1, 2))
    centred = (target - target.mean(1, keepdim=True)).square().sum((1, 2))
    for index in range(3):
        disparity = scipy_procrustes(target[index].numpy(), preds[index].numpy())[2]
        assert (residual / centred)[index].item() == pytest.approx(disparity, rel=1e-9)
    mirrored = target * torch.tensor([-1.0, 1, 1])
    assert (vertex_error(mirrored, target, "similarity") > 10).all()


def test_the_standardised_error_by_hand_and_without_a_unit():
    target, preds = _meshes(), _meshes(1)
    scale = vertex_spread(target)
    assert scale == pytest.approx((target - target.mean(0)).numpy().std(), rel=1e-12)
    expected = np.square((preds - target).numpy() / scale).mean((1, 2))
    assert np.allclose(standardised_vertex_error(preds, target, scale), expected, rtol=1e-12)
    millimetres = standardised_vertex_error(1000 * preds, 1000 * target, 1000 * scale)
    assert np.allclose(millimetres, expected, rtol=1e-9)
    metric = StandardisedVertexError(scale)
    metric.update(preds, target, ["a/0", "a/1", "b/0"])
    assert metric.compute().item() == pytest.approx((expected[:2].mean() + expected[2]) / 2, rel=1e-12)
    assert f"s = {scale:.6g}" in metric.card.protocol


def test_the_class_names_its_alignment():
    metric = VertexError("rigid")
    assert metric.card.name == "Vertex-rigid"
    metric.update(_meshes() + 1, _meshes(), ["a/0", "a/1", "a/2"])
    assert metric.compute().item() < 1e-10
    assert VertexError().card.name == "Vertex"


def test_case_35_a_wrong_mesh_is_one_plain_sentence():
    target = _meshes()
    for wrong, sentence in ((target[:, :10], "one topology"), (target.mT, "B V 3"), (target / 0, "nan or inf")):
        with pytest.raises(ValueError, match=sentence):
            vertex_error(wrong, target)
        with pytest.raises(ValueError, match=sentence):
            standardised_vertex_error(wrong, target, 1.0)
    with pytest.raises(ValueError, match="no alignment; choose from none, rigid, similarity"):
        vertex_error(target, target, "affine")
    with pytest.raises(ValueError, match="spread of the training set"):
        standardised_vertex_error(target, target, 0.0)


def test_a_mirrored_mesh_is_turned_about_its_shortest_axis():
    target = torch.tensor(
        [[[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]]], dtype=torch.float64
    )
    preds = target * torch.tensor([1.0, 1, -1], dtype=torch.float64)
    assert vertex_error(preds, target, "rigid").item() == pytest.approx(1000 * 4 / 6)  # millimetres
    assert umeyama(preds, target, scaled=True).scale.item() == pytest.approx((18 + 8 - 2) / (18 + 8 + 2))
