"""The rasteriser, camera and shading against closed forms and finite differences."""

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad

from models.rendering import camera, rasteriser, shading
from models.rendering.shadow import shadow_share

SIZE = 48


def sphere(radius: float, centre: tuple[float, float, float], rows: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    polar, turn = torch.meshgrid(
        torch.linspace(1e-3, np.pi - 1e-3, rows), torch.linspace(0, 2 * np.pi, 2 * rows), indexing="ij"
    )
    points = torch.stack([polar.sin() * turn.cos(), polar.cos(), polar.sin() * turn.sin()], -1).reshape(-1, 3)
    index = torch.arange(rows * 2 * rows).reshape(rows, 2 * rows)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    return points * radius + torch.tensor(centre), faces


def matrix(size: int = SIZE, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return camera.intrinsics(torch.tensor([1.6], dtype=dtype), size)


def rays(size: int = SIZE) -> torch.Tensor:
    return camera.unproject(torch.ones(1, 1, size, size), matrix(size))[0].permute(1, 2, 0)


def drawn(points: torch.Tensor, faces: torch.Tensor, size: int = SIZE, cull: bool = False) -> rasteriser.Fragments:
    flat = camera.project(points[None], matrix(size).to(points.dtype))
    return rasteriser.fragments(flat, faces, rasteriser.rasterise(flat, faces, size, size, cull=cull))


def test_depth_of_a_sphere_is_the_analytic_one():
    centre, radius = (0.02, -0.03, 1.0), 0.2
    seen = drawn(*sphere(radius, centre))
    depth = seen.dense(seen.depth[:, None])[0, 0]
    ray, middle = rays(), torch.tensor(centre)
    b, a = (ray * middle).sum(-1), (ray**2).sum(-1)
    discriminant = b**2 - a * (middle @ middle - radius**2)
    inner = discriminant > 0.005
    expected = (b - discriminant.clamp(min=0).sqrt()) / a
    assert (depth[inner] - expected[inner]).abs().max() < 2e-4
    assert (depth[discriminant < 0] == 0).all()
    assert inner.sum() > 200


def test_interpolation_is_perspective_correct_on_a_slanted_plane():
    corners = torch.tensor([[-0.5, -0.5, 0.8], [0.5, -0.5, 2.5], [0.5, 0.5, 2.5], [-0.5, 0.5, 0.8]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = torch.tensor([[[0.0, 0], [1, 0], [1, 1], [0, 1]]])
    seen = drawn(corners, faces)
    result = rasteriser.interpolate(uv, seen)
    ray = rays().reshape(-1, 3)[seen.pixel]
    # The plane is z = 1.65 + 1.7 x; u = x + 1/2 and v = y + 1/2 on it.
    depth = 1.65 / (1 - 1.7 * ray[:, 0])
    assert torch.allclose(seen.depth, depth, atol=1e-5)
    assert torch.allclose(result, ray[:, :2] * depth[:, None] + 0.5, atol=1e-5)
    by_corner = rasteriser.interpolate_corners(uv[0][faces], seen)
    assert torch.allclose(by_corner, result, atol=1e-6)


def test_weights_sum_to_one_and_nearer_face_wins():
    near = torch.tensor([[-0.1, -0.1, 0.5], [0.1, -0.1, 0.5], [0.0, 0.1, 0.5]])
    points = torch.cat([near * torch.tensor([4.0, 4, 2]), near])
    seen = drawn(points, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    assert torch.allclose(seen.weights.sum(-1), torch.ones(len(seen.face)), atol=1e-5)
    depth = seen.dense(seen.depth[:, None])[0, 0]
    middle = SIZE // 2
    assert depth[middle, middle] == pytest.approx(0.5, abs=1e-6)
    assert set(seen.face.tolist()) == {0, 1}


def test_neighbouring_faces_leave_no_crack():
    generator = torch.Generator().manual_seed(0)
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 60), torch.linspace(-1, 1, 60), indexing="xy"), -1)
    inner = grid[1:-1, 1:-1]
    inner += (torch.rand(inner.shape, generator=generator) - 0.5) * 0.015
    index = torch.arange(3600).reshape(60, 60)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    points = torch.cat([grid.reshape(-1, 2), torch.ones(3600, 1)], -1)
    assert len(drawn(points, faces, 128).pixel) == 128 * 128


def test_gradients_agree_with_finite_differences():
    points = torch.tensor([[-0.30, -0.25, 0.9], [0.33, -0.21, 1.2], [0.05, 0.31, 1.0]], dtype=torch.float64)
    faces, camera_matrix = torch.tensor([[0, 1, 2]]), matrix(8, torch.float64)
    flat = camera.project(points[None], camera_matrix)
    index = rasteriser.rasterise(flat, faces, 8, 8)

    def picture(vertices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        seen = rasteriser.fragments(camera.project(vertices[None], camera_matrix), faces, index)
        return torch.cat([rasteriser.interpolate(values, seen), seen.depth[:, None]], 1)

    values = torch.rand(1, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert (index >= 0).sum() > 5
    assert torch.autograd.gradcheck(picture, (points.requires_grad_(), values.requires_grad_()))


@pytest.mark.parametrize("depth", [-1.0, 0.0])
def test_a_face_that_reaches_behind_the_camera_is_dropped(depth: float):
    points = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [0, 1, depth]])
    seen = drawn(points, torch.tensor([[0, 1, 2]]))
    assert len(seen.pixel) == 0
    assert (seen.dense(seen.depth[:, None]) == 0).all()


def test_culling_keeps_the_faces_turned_to_the_camera():
    points, faces = sphere(0.2, (0.0, 0.0, 1.0), rows=24)
    both, kept = drawn(points, faces), drawn(points, faces.flip(1), cull=True)
    turned = drawn(points, faces, cull=True)
    assert torch.equal(both.pixel, kept.pixel)
    assert torch.allclose(both.depth, kept.depth, atol=1e-6)
    assert (turned.depth > 1 - 0.2**2 - 0.005).all()  # beyond the circle where rays touch the sphere


def test_a_picture_of_a_batch_is_each_picture():
    points, faces = sphere(0.2, (0.0, 0.0, 1.0), rows=24)
    flat = camera.project(torch.stack([points, points + 0.05]), matrix().expand(2, 3, 3))
    together = rasteriser.rasterise(flat, faces, SIZE, SIZE)
    alone = torch.cat([rasteriser.rasterise(flat[i : i + 1], faces, SIZE, SIZE) for i in range(2)])
    assert torch.equal(together, alone)


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
    points, faces = sphere(0.5, (0.0, 0.0, 0.0), rows=48)
    normals = shading.vertex_normals(points[None], faces.flip(1))[0]
    direction = points / points.norm(dim=-1, keepdim=True)
    away_from_the_seam = (direction[:, 1].abs() < 0.98) & (points[:, 2].abs() > 0.02)
    assert ((normals * direction).sum(-1)[away_from_the_seam] > 0.999).all()


def test_texture_samples_are_texels_at_their_centres():
    texture = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    uv = torch.tensor([[(2 + 0.5) / 5, (1 + 0.5) / 4], [3.0 / 5, (1 + 0.5) / 4]])
    samples = shading.sample_texture(texture, uv)
    assert torch.allclose(samples[0], texture[:, 1, 2], atol=1e-6)
    assert torch.allclose(samples[1], (texture[:, 1, 2] + texture[:, 1, 3]) / 2, atol=1e-6)


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
        result = shading.harmonic_irradiance(torch.tensor(normal[None], dtype=torch.float32), coefficients)
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
    share = shadow_share(floor, plate, faces, light, torch.zeros(3), 0.3, 128)
    assert share.tolist() == [1.0, 0.0, 0.0, 0.0]
