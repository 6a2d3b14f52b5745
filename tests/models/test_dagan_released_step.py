"""A training step under the released settings is the released code's, restated here on the released tensors."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import conv2d, grid_sample

from models.dagan.released import PARTS, ours
from models.dagan.transform import RandomTransform
from tests.models import released_files as files
from tests.models.released_reference import disparity, draw, grid, judge, keypoints
from tests.models.smallest_dagan import pairs
from tests.models.test_dagan_released import converted

VALUES = ("perceptual", "adversarial", "feature_matching", "keypoint_distance", "discriminator")
EQUIVARIANCE = ("equivariance_value", "equivariance_jacobian")
STATISTICS = ("running_mean", "running_var")


def double(tensors):
    return {name: t.double().clone() if t.is_floating_point() else t for name, t in tensors.items()}


class Transform:
    """The random change of coordinates, from its coefficients."""

    def __init__(self, drawn):
        self.affine, self.centres, self.weights = drawn.affine, drawn.centres, drawn.weights

    def points(self, points):
        r = sum((points[..., None, i] - self.centres[:, i]).abs() for i in (0, 1))
        spline = (self.weights[:, None] * r**2 * torch.log(r + 1e-6)).sum(-1)
        return (
            torch.einsum("bij,bnj->bni", self.affine[:, :, :2], points) + self.affine[:, None, :, 2] + spline[..., None]
        )

    def image(self, image):
        field = self.points(grid(*image.shape[2:], image).reshape(1, -1, 2).expand(len(image), -1, 2))
        field = field.view(len(image), *image.shape[2:], 2)
        return grid_sample(image, field, padding_mode="reflection", align_corners=False)

    def jacobian(self, points):
        points = points if points.requires_grad else points.requires_grad_()
        moved = self.points(points)
        rows = [torch.autograd.grad(moved[..., i].sum(), points, create_graph=True)[0] for i in (0, 1)]
        return torch.stack(rows, -2)


def pyramid(image, scale):
    step, sigma = round(1 / scale), (1 / scale - 1) / 2
    radius = round(4 * sigma)
    x = torch.arange(-radius, radius + 1.0)  # in float32, as kernels are made
    line = torch.exp(-(x**2) / (2 * sigma**2)) if sigma else torch.ones(1)
    kernel = line[:, None] * line
    kernel = (kernel / kernel.sum()).to(image).expand(3, 1, -1, -1)
    return conv2d(image, kernel, padding=radius, groups=3)[:, :, ::step, ::step]


def perceptual(fake, real):
    total = 0
    for scale in (1, 0.5, 0.25, 0.125):
        a, b = pyramid(fake, scale), pyramid(real, scale)
        along_x, along_y = ((x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]) for x in (a, b))
        differences = (a - b, along_x[0] - along_y[0], along_x[1] - along_y[1])
        total = total + 50 * sum(d.abs().mean() for d in differences)
    return total


def crowding(points):
    distance = (points[:, :, None] - points[:, None]).square().sum(-1).sqrt()
    far = distance + torch.eye(points.shape[1], dtype=points.dtype)  # a point is not near itself
    return (1 - torch.sign(far - 0.2)).sum((1, 2)).mean() / points.shape[1] ** 2


def released_step(held, source, driving, transform):
    """The losses by name; running statistics in ``held`` move."""

    def look(image):
        depth = disparity(held["encoder"], held["depth"], image).detach()
        return depth, keypoints(held["kp_detector"], torch.cat([image, depth], 1), training=True)

    (depth, there), (_, here) = look(source), look(driving)
    fake = draw(held["generator"], source, depth, there, here, training=True)
    moved = look(transform.image(driving))[1]
    real_features, real = judge(held["discriminator"], driving, here[0])
    features, score = judge(held["discriminator"], fake, here[0])
    product = torch.inverse(here[1]) @ transform.jacobian(moved[0]) @ moved[1]
    _, apart = judge(held["discriminator"], fake.detach(), here[0])
    return {
        "perceptual": perceptual(fake, driving),
        "adversarial": (1 - score).square().mean(),
        "feature_matching": 10 * sum((a - b).abs().mean() for a, b in zip(real_features, features, strict=True)),
        "equivariance_value": 10 * (here[0] - transform.points(moved[0])).abs().mean(),
        "equivariance_jacobian": 10 * (torch.eye(2, dtype=product.dtype) - product).abs().mean(),
        "keypoint_distance": 10 * (crowding(there[0].detach()) + crowding(here[0].detach())),  # signs have no gradient
        "discriminator": (1 - real).square().mean() + apart.square().mean(),
    }


@pytest.fixture
def step(tmp_path, fit, monkeypatch):
    """A step of the converted model, and of the restatement on the same tensors, both in double precision."""
    held = {part: double(tensors) for part, tensors in files.save(tmp_path, files.SMALL).items()}
    batch = {name: images.double() for name, images in pairs().items()}

    def run(**changes):
        model = converted(tmp_path)[0].double()
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # no sum is rounded to float32
        for name, value in changes.items():
            setattr(model, name, value)
        model.perceptual = replace(model.perceptual, kind="pyramid")
        drawn = RandomTransform(2, model.transform, batch["driving"])
        monkeypatch.setattr("models.dagan.RandomTransform", lambda *_: drawn)
        values = {}
        monkeypatch.setattr(model, "log_dict", lambda parts, **_: values.update(parts))
        fit(model.train(), batch, 1)
        for part in PARTS:
            for name, tensor in held[part].items():
                tensor.requires_grad_(tensor.is_floating_point() and not files.is_buffer(name))
        expected = released_step(held, batch["source"], batch["driving"], Transform(drawn))
        return model, held, {name.removeprefix("train/"): value for name, value in values.items()}, expected

    return run


def test_a_step_has_the_released_losses_gradients_and_statistics(step):
    model, held, values, expected = step()
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value.detach(), rtol=1e-11, atol=0)
        assert value > 0, name
    of_generator = sum(value for name, value in expected.items() if name != "discriminator")
    for part in PARTS:
        loss = expected["discriminator"] if part == "discriminator" else of_generator
        moved = {name: tensor for name, tensor in held[part].items() if tensor.requires_grad}
        gradients = torch.autograd.grad(loss, moved.values(), retain_graph=True)
        largest = max(gradient.abs().max() for gradient in gradients)
        assert largest > 0
        for name, gradient in zip(moved, gradients, strict=True):
            mine = model.get_parameter(f"{PARTS[part]}.{ours(name)}").grad
            assert (mine - gradient).abs().max() < 1e-9 * largest, name
        for name in (name for name in held[part] if name.endswith(STATISTICS)):
            torch.testing.assert_close(model.get_buffer(f"{PARTS[part]}.{ours(name)}"), held[part][name])


def test_a_joint_pass_is_another_step(step):
    _, _, values, expected = step(joint_pass=True)
    for name in EQUIVARIANCE:
        assert abs(values[name] / expected[name] - 1) > 0.005


def test_an_aligned_grid_is_another_step(step):
    _, _, values, expected = step(align_corners=True)
    assert abs(values["equivariance_value"] / expected["equivariance_value"] - 1) > 1e-4


def test_a_near_singular_jacobian_is_inverted_as_it_is_unless_there_is_a_floor(step):
    _, _, values, expected = step(determinant_floor=0.9)
    assert abs(values["equivariance_jacobian"] / expected["equivariance_jacobian"] - 1) > 1e-3
