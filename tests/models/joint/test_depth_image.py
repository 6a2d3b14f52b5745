"""Depth and normals as pictures: sign, range, quantiles, background; exact on planes."""

import numpy as np
import torch

from models.joint.depth_image import as_map, as_picture, closeness_image, normals_image


def test_the_nearest_is_one_the_farthest_and_the_background_zero():
    depth = torch.full((1, 1, 2, 3), 9.0)
    depth[0, 0, 0] = torch.tensor([0.5, 0.6, 0.7])
    mask = torch.zeros_like(depth, dtype=torch.bool)
    mask[0, 0, 0] = True
    torch.testing.assert_close(
        closeness_image(depth, mask, 0, 1)[0, 0], torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    )


def test_quantiles_are_those_of_numpy_inside_the_mask():
    torch.manual_seed(0)
    depth, mask = torch.rand(3, 1, 16, 16) + 0.5, torch.rand(3, 1, 16, 16) < 0.6
    ours = closeness_image(depth, mask, 0.05, 0.9)
    for one, inside, result in zip(depth.double().numpy(), mask.numpy(), ours.numpy(), strict=True):
        near, far = np.quantile(one[inside], [0.05, 0.9])
        wanted = np.where(inside, np.clip((far - one) / (far - near), 0, 1), 0)
        np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_an_empty_mask_and_a_flat_face_give_finite_maps():
    flat = torch.full((2, 1, 4, 4), 0.5)
    mask = torch.ones_like(flat, dtype=torch.bool)
    mask[1] = False
    closeness = closeness_image(flat, mask, 0.005, 0.995)
    assert closeness.isfinite().all()
    assert closeness[1].eq(0).all()


def test_an_affine_change_of_depth_changes_nothing():
    torch.manual_seed(0)
    depth, mask = torch.rand(2, 1, 8, 8) + 0.5, torch.rand(2, 1, 8, 8) < 0.7
    one, other = (closeness_image(d, mask, 0.01, 0.99) for d in (depth, 3 * depth + 2))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_map_survives_as_a_grey_picture():
    map_ = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(as_map(as_picture(map_)), map_)


def test_a_plane_that_faces_the_camera_has_one_normal():
    depth, camera = torch.full((1, 1, 8, 8), 0.7), torch.tensor([[[20.0, 0, 3.5], [0, 20.0, 3.5], [0, 0, 1]]])
    mask = torch.ones_like(depth, dtype=torch.bool)
    mask[..., 0, 0] = False
    colours = normals_image(depth, mask, camera)
    inner = colours[0, :, 2:-2, 2:-2].flatten(1)
    torch.testing.assert_close(inner[:2], torch.full_like(inner[:2], 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(inner[2], torch.ones_like(inner[2]))  # blue: into the head
    assert colours[0, :, 0, 0].eq(0.5).all()


def test_normals_know_nothing_of_a_cliff_at_the_edge_of_the_skin():
    depth, camera = torch.full((1, 1, 12, 12), 0.7), torch.tensor([[[20.0, 0, 5.5], [0, 20.0, 5.5], [0, 0, 1]]])
    mask = torch.zeros_like(depth, dtype=torch.bool)
    mask[..., 3:9, 3:9] = True
    colours = normals_image(depth, mask, camera)[0].flatten(1).T.round(decimals=4).unique(dim=0)
    assert len(colours) == 2  # that of the plane, and grey
    assert colours[:, :2].eq(0.5).all()
