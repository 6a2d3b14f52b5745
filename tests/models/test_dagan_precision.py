import pytest
import torch

from models.dagan import losses
from models.dagan.depth import RigidMotion
from models.dagan.keypoints import AffineKeypoints, transfer_motion
from models.dagan.monkey_networks import moments, transfer_gaussians
from models.dagan.osfv import transfer_head_motion
from models.dagan.osfv_volumes import HeadMotion, binned_angles, rotations, volume_motions
from models.dagan.precision import exact, in_full_precision
from models.dagan.reprojection import reproject, rigid_transform, smoothness
from models.dagan.tpsmm import there_and_back_error
from models.dagan.tpsmm_networks import splines
from models.dagan.transform import RandomTransform, TransformConfig
from models.tasks import Context
from tests.models.smallest_dagan import SMALL_SPADE, SMALLEST, pairs


def some(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def affine(seed):
    return AffineKeypoints(some(2, 5, 2, seed=seed), torch.eye(2) + 0.2 * some(2, 5, 2, 2, seed=seed))


def head(seed):
    return HeadMotion(rotations(some(2, 3, seed=seed)), some(2, 3, seed=seed), some(2, 5, 3, seed=seed))


def gaussian(seed):
    return moments((20 * some(2, 5, 8, 9, seed=seed)).flatten(2).softmax(2).view(2, 5, 8, 9), 0.01)


def transform():
    torch.manual_seed(0)
    return RandomTransform(2, TransformConfig(0.05, 0.005, 5), torch.zeros(()))


def camera():
    return torch.tensor([[300.0, 0, 127.5], [0, 300, 127.5], [0, 0, 1]]).expand(2, 3, 3)


OF_COORDINATES = {
    "transform": lambda: transform().points(some(2, 7, 2)),
    "its jacobian": lambda: transform().jacobian(some(2, 7, 2)),
    "equivariance": lambda: losses.equivariance_value(affine(0), affine(1), transform()),
    "equivariance of jacobians": lambda: losses.equivariance_jacobian(affine(0), affine(1), transform(), 1e-4),
    "relative motion": lambda: transfer_motion(affine(0), affine(1), affine(2), True, 1e-4),
    "rigid motion": lambda: rigid_transform(RigidMotion(some(2, 3), some(2, 3), camera()), True),
    "reprojection": lambda: reproject(2 + some(2, 1, 6, 8), rotations(some(2, 3) / 9), some(2, 3), camera()),
    "smoothness": lambda: smoothness(1 + some(2, 1, 6, 8), some(2, 3, 12, 16)),
    "splines": lambda: splines(some(2, 3, 5, 2), some(2, 3, 5, 2, seed=1), (6, 7), 0.01, 0.001),
    "background": lambda: there_and_back_error(some(2, 3, 3), some(2, 3, 3, seed=1)),
    "moments": lambda: gaussian(0),
    "relative motion of Gaussians": lambda: transfer_gaussians(gaussian(0), gaussian(1), gaussian(2)),
    "angles": lambda: binned_angles(20 * some(2, 3, 66)),
    "rotations": lambda: rotations(some(2, 3)),
    "heads": lambda: head(0).place(some(2, 5, 3)),
    "volumes": lambda: volume_motions(head(0), head(1), some(2, 5, 3), (3, 4, 5)),
    "relative motion of heads": lambda: transfer_head_motion(head(0), head(1), head(2)),
}


@pytest.mark.parametrize("name", OF_COORDINATES)
def test_autocast_leaves_coordinates_alone(name):
    whole = OF_COORDINATES[name]()
    with torch.autocast("cpu", torch.bfloat16):
        half = OF_COORDINATES[name]()
    for one, other in zip(*((x,) if isinstance(x, torch.Tensor) else x for x in (whole, half)), strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


def test_what_comes_in_half_precision_is_made_whole_only_under_autocast():
    layer = torch.nn.Linear(4, 4)
    x = some(2, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = exact(layer, x)
    assert torch.equal(found, layer(x.float()))
    assert exact(layer.bfloat16(), x).dtype == torch.bfloat16


def test_tensors_are_made_whole_wherever_they_stand():
    seen = []

    @in_full_precision
    def function(points, *, rest):
        seen.extend([*points, *rest["of"], torch.is_autocast_enabled("cpu")])

    half = some(2).bfloat16()
    given = AffineKeypoints(half, half), {"of": [half.half(), half.double(), half.long()]}
    with torch.autocast("cpu", torch.bfloat16):
        function(given[0], rest=given[1])
    assert [x.dtype for x in seen[:-1]] == [*[torch.float32] * 3, torch.float64, torch.int64]
    assert not seen[-1]
    function(given[0], rest=given[1])
    assert seen[-4].dtype == torch.float16


@pytest.mark.parametrize("motion", ["absolute", "relative"])
def test_half_precision_leaves_keypoints_and_motion_alone(smallest, motion):
    model, images = smallest().eval(), pairs()
    source, driving = images["source"], images["driving"]
    context = Context(motion, driving.flip(-1))

    def found():
        here, there = (model.find_keypoints(x, model.disparity(x)) for x in (source, driving))
        return *here, *there, *model.generator.move(source, here, there)

    with torch.no_grad():
        whole, drawn = found(), model.reenact(source, driving[:, None], context)
        with torch.autocast("cpu", torch.bfloat16):
            half, roughly = found(), model.reenact(source, driving[:, None], context)
    for one, other in zip(whole, half, strict=True):
        assert torch.equal(one, other)
    assert roughly.dtype == torch.float32
    assert not torch.equal(roughly, drawn)
    torch.testing.assert_close(roughly, drawn, atol=0.02, rtol=0)


@pytest.mark.parametrize("variant", ["fomm", "sa", "spade"])
def test_it_trains_in_half_precision_and_draws_whole_pictures(smallest, fit, variant):
    changes = {"generator": SMALLEST["generator"] | SMALL_SPADE} if variant == "spade" else {}
    model = smallest(f"variants/dagan/{variant}.yaml", **changes)
    fit(model, pairs(), 2, precision="bf16-mixed")
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        picture = model.eval().reenact(pairs()["source"], pairs()["driving"][:, None], Context())
    assert picture.dtype == torch.float32
    assert not torch.equal(picture, picture.bfloat16().float())


def test_half_precision_leaves_disparity_alone(smallest):
    model, image = smallest().eval(), pairs()["source"]
    with torch.no_grad():
        whole = model.estimate_depth(image, Context()).map
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.estimate_depth(image, Context()).map, whole)
