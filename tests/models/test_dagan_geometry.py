import numpy as np
import pytest
import torch
from kornia.geometry.transform import warp_perspective
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from models.dagan.depth import PoseNetwork, RigidMotion
from models.dagan.keypoints import AffineKeypoints
from models.dagan.motion import sparse_motions
from models.dagan.reprojection import disparity_to_depth, reproject, rigid_transform, sample_pixels
from models.dagan.transform import RandomTransform, TransformConfig
from models.dagan.warping import coordinate_grid, gaussian_heatmaps, inverse_2x2, warp


def smooth_image(height, width):
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 5) * np.cos(y / 7), np.cos(x / 4 + y / 6), np.sin(y / 5)]
    return torch.from_numpy(np.stack(planes) / 4 + 0.5)[None].float()


def identity(image):
    return coordinate_grid(image.shape[2], image.shape[3], image).expand(len(image), -1, -1, -1)


def test_the_grid_runs_from_minus_one_to_one_x_first():
    grid = coordinate_grid(3, 5, torch.zeros(()))
    torch.testing.assert_close(grid[2, 1], torch.tensor([-0.5, 1.0]))


@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_the_identity_warp_is_the_identity(size):
    image = torch.rand(2, 3, *size)
    torch.testing.assert_close(warp(image, identity(image), align_corners=True), image)


def test_the_identity_warp_of_a_small_field_is_the_identity():
    image = torch.rand(1, 3, 64, 64)
    small = coordinate_grid(16, 16, image)[None]
    torch.testing.assert_close(warp(image, small, align_corners=True), image, atol=1e-4, rtol=0)


def test_the_released_identity_warp_halves_the_border():
    image = torch.ones(1, 1, 64, 64)
    warped = warp(image, identity(image), align_corners=False)[0, 0]
    torch.testing.assert_close(warped[0, 1:-1], torch.full((62,), 0.5))
    assert warped[0, 0] == pytest.approx(0.25)


def test_moving_all_keypoints_moves_the_image_by_as_much():
    image = torch.rand(1, 3, 21, 21)
    driving = AffineKeypoints(torch.rand(1, 4, 2) - 0.5, None)
    shift = torch.tensor([3.0, -2.0]) * 2 / 20  # pixels
    motions = sparse_motions(AffineKeypoints(driving.value + shift, None), driving, (21, 21), 1e-4)
    torch.testing.assert_close(motions[:, 0], identity(image))
    for motion in motions[0, 1:]:
        moved = warp(image, motion[None], align_corners=True)
        torch.testing.assert_close(moved[..., 2:, :-3], image[..., :-2, 3:], atol=1e-5, rtol=0)


def test_a_jacobian_scales_the_motion_around_its_keypoint():
    at = torch.tensor([[[0.2, -0.4]]])
    source = AffineKeypoints(at, torch.tensor([[[[2.0, 0], [0, 2]]]]))
    driving = AffineKeypoints(at, torch.tensor([[[[1.0, 0], [0, 4]]]]))
    grid = coordinate_grid(9, 9, at)
    expected = at[0, 0] + (grid - at[0, 0]) * torch.tensor([2.0, 0.5])
    torch.testing.assert_close(sparse_motions(source, driving, (9, 9), 1e-4)[0, 1], expected)


def test_the_two_by_two_inverse_is_the_inverse():
    matrix = torch.randn(50, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for floor in (1e-9, 0):
        torch.testing.assert_close(inverse_2x2(matrix, floor), torch.linalg.inv(matrix))


def test_the_inverse_of_a_singular_matrix_is_finite_and_has_a_gradient():
    matrix = torch.tensor([[1.0, 2], [2, 4]], requires_grad=True)
    inverse = inverse_2x2(matrix, 1e-4)
    inverse.sum().backward()
    assert inverse.isfinite().all()
    assert matrix.grad.isfinite().all()
    assert not inverse_2x2(matrix, 0).isfinite().any()


@pytest.mark.parametrize(("determinant", "kept"), [(1e-5, 1e-4), (-1e-5, -1e-4), (2e-4, 2e-4), (0.0, 1e-4)])
def test_the_determinant_is_kept_a_floor_away_from_zero_on_its_own_side(determinant, kept):
    matrix = torch.tensor([[1.0, 0], [0, determinant]], dtype=torch.float64)
    expected = torch.tensor([[determinant / kept, 0], [0, 1 / kept]], dtype=torch.float64)
    torch.testing.assert_close(inverse_2x2(matrix, 1e-4), expected)


def test_a_heatmap_is_a_gaussian_around_its_point():
    points = torch.tensor([[[0.5, -0.25]]])
    heatmap = gaussian_heatmaps(points, (9, 17), 0.01)[0, 0]
    y, x = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 17), indexing="ij")
    expected = np.exp(-((x - 0.5) ** 2 + (y + 0.25) ** 2) / 0.02)
    np.testing.assert_allclose(heatmap, expected, atol=1e-6)


@pytest.fixture
def transform():
    torch.manual_seed(0)
    config = TransformConfig(affine_sigma=0.05, spline_sigma=0.005, spline_points=5)
    return RandomTransform(2, config, torch.zeros((), dtype=torch.float64))


def test_the_transform_is_affine_plus_spline(transform):
    points = torch.rand(2, 7, 2, dtype=torch.float64) * 2 - 1
    axis = np.linspace(-1, 1, 5)
    for b in range(2):
        for n, (x, y) in enumerate(points[b].tolist()):
            r = np.array([abs(x - cx) + abs(y - cy) for cy in axis for cx in axis])
            spline = (transform.weights[b].numpy() * r**2 * np.log(r + 1e-6)).sum()
            expected = transform.affine[b].numpy() @ [x, y, 1] + spline
            np.testing.assert_allclose(transform.points(points)[b, n], expected)


def test_the_jacobian_of_the_transform_is_its_finite_difference(transform):
    points = torch.rand(2, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    step = 1e-6
    columns = [
        (transform.points(points + step * axis) - transform.points(points - step * axis)) / (2 * step)
        for axis in torch.eye(2, dtype=torch.float64)
    ]
    torch.testing.assert_close(transform.jacobian(points), torch.stack(columns, -1), atol=1e-6, rtol=1e-5)


def test_the_transformed_image_shows_at_z_what_was_at_t_of_z(transform):
    image = smooth_image(64, 64).double().expand(2, -1, -1, -1)
    moved = transform.image(image, align_corners=True)
    grid = coordinate_grid(64, 64, image).flatten(0, 1).expand(2, -1, 2)
    inside = transform.points(grid).abs().amax(-1).view(2, 64, 64) < 1
    pixels = ((transform.points(grid) + 1) * 31.5).view(2, 64, 64, 2).numpy()
    expected = map_coordinates(image[1, 0].numpy(), [pixels[1, ..., 1], pixels[1, ..., 0]], order=1)
    np.testing.assert_allclose(moved[1, 0][inside[1]], expected[inside[1].numpy()], atol=1e-9)


def camera(focal=50.0, centre=(15.0, 12.0)):
    return torch.tensor([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])[None]


def motion(axis_angle, translation):
    return RigidMotion(torch.tensor([axis_angle]), torch.tensor([translation]), camera())


def test_the_rotation_is_scipys():
    rotation, translation = rigid_transform(motion([0.3, -0.2, 0.5], [1.0, 2.0, 3.0]), invert=False)
    np.testing.assert_allclose(rotation[0], Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), atol=1e-6)
    torch.testing.assert_close(translation, torch.tensor([[1.0, 2, 3]]))


def test_a_motion_and_its_inverse_cancel():
    there, back = (rigid_transform(motion([0.3, -0.2, 0.5], [1.0, 2.0, 3.0]), invert=i) for i in (False, True))
    point = torch.tensor([0.4, -0.7, 2.0])
    moved = there[0][0] @ point + there[1][0]
    torch.testing.assert_close(back[0][0] @ moved + back[1][0], point)


def test_no_motion_maps_every_pixel_to_itself():
    pixels = reproject(torch.full((1, 1, 6, 8), 2.0), torch.eye(3)[None], torch.zeros(1, 3), camera())
    torch.testing.assert_close(pixels[0, 4, 7], torch.tensor([7.0, 4.0]))
    image = torch.rand(1, 3, 6, 8)
    torch.testing.assert_close(sample_pixels(image, pixels, align_corners=True), image)


def test_a_plane_under_a_rigid_motion_is_warped_by_its_homography():
    rotation, translation = rigid_transform(motion([0.02, -0.05, 0.1], [0.1, -0.05, 0.2]), invert=False)
    normal, distance, k = torch.tensor([0.1, -0.2, 1.0]), 3.0, camera()[0]
    y, x = torch.meshgrid(torch.arange(25.0), torch.arange(31.0), indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(k).T
    depth = (distance / (rays @ normal))[None, None]
    preds = sample_pixels(smooth_image(25, 31), reproject(depth, rotation, translation, camera()), True)
    plane = rotation[0] + torch.outer(translation[0], normal) / distance
    homography = k @ plane @ torch.linalg.inv(k)  # from the frame to the image that is sampled
    expected = warp_perspective(
        smooth_image(25, 31), torch.linalg.inv(homography)[None], (25, 31), padding_mode="border", align_corners=True
    )
    torch.testing.assert_close(preds, expected, atol=2e-4, rtol=0)


def test_a_near_point_moves_more_than_a_far_one():
    depth = torch.tensor([[[[1.0, 4.0]]]])
    pixels = reproject(depth, torch.eye(3)[None], torch.tensor([[0.1, 0, 0]]), camera())
    torch.testing.assert_close(pixels[0, 0, :, 0], torch.tensor([0 + 5.0, 1 + 1.25]))


def test_disparity_spans_the_range_of_depth():
    depth = disparity_to_depth(torch.tensor([0.0, 1.0]), nearest=0.1, farthest=100)
    torch.testing.assert_close(depth, torch.tensor([100.0, 0.1]))


def pose_network(truncate):
    torch.manual_seed(0)
    return PoseNetwork(layers=10, width=8, features=16, pose_scale=0.01, truncate=truncate)


@pytest.mark.parametrize(("truncate", "learns"), [(False, True), (True, False)])
def test_the_camera_gets_a_gradient_unless_it_is_truncated(truncate, learns):
    network = pose_network(truncate)
    found = network(*torch.rand(2, 2, 3, 64, 64))
    found.camera.sum().backward()
    gradients = [p.grad is not None and bool(p.grad.any()) for head in network.net[4:] for p in head.parameters()]
    assert all(gradients) if learns else not any(gradients)


def test_the_camera_starts_with_its_centre_in_the_image_only_if_not_truncated():
    frames = torch.rand(2, 2, 3, 64, 64)
    ours, released = pose_network(False)(*frames).camera, pose_network(True)(*frames).camera
    assert ((ours[:, :2, 2] - 31.5).abs() < 6).all()
    assert (released[:, :2, 2] > 63).all()
    assert (released[:, 2] == torch.tensor([0.0, 0, 1])).all()
