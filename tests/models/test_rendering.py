"""Camera, shading, shadows and occlusion against closed forms."""

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from torch import Tensor

from models.rendering import camera, shading
from models.rendering.lighting import averaged
from models.rendering.occlusion import hidden, on_surface
from models.rendering.shadow import shadow_share


def sphere(radius: float, rows: int) -> tuple[Tensor, Tensor]:
    polar, turn = torch.meshgrid(
        torch.linspace(1e-3, np.pi - 1e-3, rows), torch.linspace(0, 2 * np.pi, 2 * rows), indexing="ij"
    )
    points = torch.stack([polar.sin() * turn.cos(), polar.cos(), polar.sin() * turn.sin()], -1).reshape(-1, 3)
    index = torch.arange(rows * 2 * rows).reshape(rows, 2 * rows)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    return points * radius, faces


def matrix(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return camera.intrinsics(torch.tensor([1.6], dtype=dtype), size)


def test_unproject_undoes_project_and_rescaling_keeps_rays():
    points = torch.tensor([[[0.1, -0.2, 0.9], [-0.3, 0.05, 1.7]]], dtype=torch.float64)
    k = matrix(64, torch.float64)
    flat = camera.project(points, k)
    lifted = torch.linalg.solve(k[0], torch.cat([flat[0, :, :2], torch.ones(2, 1, dtype=torch.float64)], 1).T).T
    assert torch.allclose(lifted * flat[0, :, 2:], points[0])
    fine = camera.project(points, camera.rescaled(k, 3))
    assert torch.allclose((fine[..., :2] + 0.5) / 3 - 0.5, flat[..., :2])
    assert torch.allclose(camera.rescaled(k, 2), camera.intrinsics(torch.tensor([1.6], dtype=torch.float64), 128))


def test_normals_of_a_sphere_point_outwards():
    points, faces = sphere(0.5, rows=48)
    normals = shading.vertex_normals(points[None], faces.flip(1))[0]
    direction = points / points.norm(dim=-1, keepdim=True)
    away_from_the_seam = (direction[:, 1].abs() < 0.98) & (points[:, 2].abs() > 0.02)
    assert ((normals * direction).sum(-1)[away_from_the_seam] > 0.999).all()


def test_texture_samples_are_texels_at_their_centres():
    texture = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    uv = torch.tensor([[(2 + 0.5) / 5, 3.0 / 5], [(1 + 0.5) / 4, (1 + 0.5) / 4]])
    samples = shading.sample_texture(texture, uv)
    assert torch.allclose(samples[:, 0], texture[:, 1, 2], atol=1e-6)
    assert torch.allclose(samples[:, 1], (texture[:, 1, 2] + texture[:, 1, 3]) / 2, atol=1e-6)
    assert torch.allclose(shading.sample_image(texture[None], uv[None, :, None])[0, :, 0], samples)


def test_harmonic_irradiance_is_the_cosine_integral():
    """The environment of one harmonic, integrated numerically against the cosine lobe of a slanted normal."""
    normal = np.array([0.48, -0.6, 0.64])
    basis = {
        1: lambda d: 0.488603 * d[1],
        6: lambda d: 0.315392 * (3 * d[2] ** 2 - 1),
        8: lambda d: 0.546274 * (d[0] ** 2 - d[1] ** 2),
    }
    for index, light in basis.items():

        def integrand(turn: float, polar: float, light=light) -> float:
            d = np.array([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
            return max(d @ normal, 0) * (2 + light(d)) * np.sin(polar)

        expected, _ = dblquad(integrand, 0, np.pi, 0, 2 * np.pi, epsabs=1e-4, epsrel=1e-4)
        coefficients = torch.zeros(9, 3)
        coefficients[0], coefficients[index] = 2 / 0.282095, 1.0
        result = shading.harmonic_irradiance(torch.tensor(normal[:, None], dtype=torch.float32), coefficients)
        assert result[0, 0].item() == pytest.approx(expected, rel=2e-3)


def test_srgb_at_known_values():
    linear = torch.tensor([0.0, 0.0031308, 0.214041, 1.0, 2.0])
    assert torch.allclose(shading.to_srgb(linear), torch.tensor([0.0, 0.04045, 0.5, 1.0, 1.0]), atol=1e-4)


def test_shadow_of_a_plate_falls_where_the_rays_meet_the_floor():
    plate = torch.tensor([[-0.05, 0, -0.05], [0.05, 0, -0.05], [0.05, 0, 0.05], [-0.05, 0, 0.05]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    faces = torch.cat([faces, faces.flip(1)])
    light = torch.nn.functional.normalize(torch.tensor([0.6, -0.8, 0.0]), dim=0)
    floor = torch.tensor([[-0.075, 0.1, 0.0], [0.0, 0.1, 0.0], [-0.075, 0.1, 0.08], [-0.075, -0.1, 0.0]])
    plates, image = torch.stack([plate, plate + torch.tensor([0.0, 0, 9])]), torch.tensor([0, 0, 0, 0, 1])
    floor = torch.cat([floor, floor[:1]])
    share = shadow_share(floor.T, image, plates, faces, light, torch.zeros(3), 0.3, 128)
    assert share.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_camera_of_a_wide_image_keeps_square_pixels():
    k = camera.intrinsics(torch.tensor([2.0]), 40, 64)[0]
    assert k.tolist() == [[80, 0, 31.5], [0, 80, 19.5], [0, 0, 1]]


def test_light_is_the_same_wherever_a_point_stands_in_its_list():
    """What keeps a frame independent of its batch: no element is rounded by its place."""
    generator = torch.Generator().manual_seed(0)
    normals = shading.unit(torch.randn(3, 1003, generator=generator))
    gloss, light = torch.rand(1003, generator=generator) * 200, torch.tensor([[0.0], [-0.6], [-0.8]])
    weights = torch.rand(9, 3, generator=generator)

    def lit(part: slice) -> Tensor:
        half = shading.dot(normals[:, part], shading.unit(light - normals[:, part].roll(1, 0)))
        shine = shading.specular(half, shading.dot(normals[:, part], light), gloss[part])
        ambient = shading.harmonic_irradiance(normals[:, part], weights)
        return shading.to_srgb(shading.wrapped_diffuse(shine, weights[0]) + ambient)

    whole = lit(slice(None))
    for start, stop in ((0, 1003), (1, 18), (5, 6), (990, 1003), (16, 999)):
        assert torch.equal(lit(slice(start, stop)), whole[:, start:stop])


def test_a_point_is_hidden_by_a_face_in_front_of_it_alone():
    faces = torch.tensor([[0, 1, 2], [3, 5, 4]])  # the second is turned away
    mesh = torch.tensor([[[0.0, 0, 1], [10, 0, 1], [0, 10, 1], [20, 0, 1], [30, 0, 1], [20, 10, 1]]])
    points = torch.tensor([[[2.0, 2, 1.5], [2, 2, 0.9], [2, 2, 1.001], [7, 7, 1.5], [0, 0, 1.5], [22, 2, 1.5]]])
    assert hidden(points, mesh, faces, 0.002).tolist() == [[True, False, False, False, False, False]]
    both = hidden(points.expand(2, -1, -1), torch.cat([mesh + torch.tensor([50.0, 0, 0]), mesh]), faces, 0.002)
    assert both[:, 0].tolist() == [False, True]


def test_a_point_is_on_the_surface_that_the_depth_map_shows():
    depth = torch.full((1, 6, 8), 1.0)
    depth[:, :, 5:] = 2.0
    depth[:, 0] = torch.inf
    parts = torch.where(depth == 2, 1, 0)
    points = torch.tensor([[2.5, 2.5, 1.0], [2.5, 2.5, 1.1], [2.5, 2.5, 0.9], [4.5, 2.5, 1.0], [2.5, 0.5, 1.0],
                           [6.5, 2.5, 2.0], [7.5, 2.5, 2.0], [2.5, -1.0, 1.0]])  # fmt: skip
    part = torch.tensor([0, 0, 0, 0, 0, 1, 1, 0])
    result = on_surface(points.T, torch.zeros(8, dtype=torch.long), part, depth, parts, 100.0)
    assert result.tolist() == [True, False, False, False, False, True, False, False]
    other = on_surface(points.T, torch.zeros(8, dtype=torch.long), 1 - part, depth, parts, 100.0)
    assert not other.any()


def test_backends_give_the_same_normals_shadows_and_hidden_points():
    pytest.importorskip("numba")
    points, faces = sphere(0.1, rows=24)
    bodies = torch.stack([points, points * torch.tensor([1.0, 0.5, 1.2])])
    assert torch.equal(shading.vertex_normals(bodies, faces, "numba"), shading.vertex_normals(bodies, faces))
    rng = torch.Generator().manual_seed(0)
    where, image = 0.12 * torch.randn(3, 500, generator=rng), torch.arange(500) // 250
    light = torch.nn.functional.normalize(torch.tensor([0.6, -0.8, 0.2]), dim=0)
    given = (where, image, bodies, faces, light, torch.zeros(3), 0.2, 64)
    expected = shadow_share(*given)
    assert 0.02 < expected.mean() < 0.5
    assert torch.equal(shadow_share(*given, "numba"), expected)
    flat = camera.project(bodies + torch.tensor([0.0, 0, 1]), matrix(64))
    marks = torch.cat([flat[:, ::5], flat[:, :1] + torch.randn(2, 50, 3, generator=rng)], 1)
    unseen = hidden(marks, flat, faces, 0.002)
    assert 0.02 < unseen.float().mean() < 0.8
    assert torch.equal(hidden(marks, flat, faces, 0.002, "numba"), unseen)


def test_a_picture_is_the_mean_of_four_samples_over_what_is_behind():
    colours = torch.tensor([[0.2, 0.6, 1.0]] * 3)
    behind = torch.tensor([0.4, 0.8]).expand(1, 3, 1, 2)
    picture = averaged(colours, torch.tensor([0, 5, 6]), (1, 2, 4), behind)  # two of the first pixel's, one of the next
    assert torch.allclose(picture[0, 0, 0], torch.tensor([(0.2 + 0.6 + 2 * 0.4) / 4, (1.0 + 3 * 0.8) / 4]))
