import pytest
import torch

from models.dagan.depth import DepthConfig, DepthNetwork
from models.dagan.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.dagan.generator import AttentionConfig, CrossModalAttention, GeneratorConfig
from models.dagan.keypoints import AffineKeypoints, KeypointDetector, KeypointDetectorConfig
from models.dagan.monkey_networks import (
    GaussianDetector,
    GaussianDetectorConfig,
    GaussianKeypoints,
    HeatmapMotion,
    HeatmapMotionConfig,
    MonkeyGenerator,
    MonkeyGeneratorConfig,
)
from models.dagan.motion import DenseMotion, MotionConfig
from models.dagan.sides import check_sides, least_side
from models.errors import UserError
from tests.models.family.conftest import built

POINTS = AffineKeypoints(torch.zeros(1, 2, 2), None)
GAUSSIANS = GaussianKeypoints(torch.zeros(1, 2, 2), torch.eye(2).expand(1, 2, 2, 2))


def detector(blocks):
    config = KeypointDetectorConfig(2, False, False, 0.1, 1, 2, 4, blocks)
    return config, KeypointDetector(config)


def motion():
    config = MotionConfig(0.01, 1, 2, 4, 4)
    network = DenseMotion(config, 2, True, 0)
    return config, lambda image: network.eval()(image, POINTS, POINTS)


def attention():
    config = GeneratorConfig(2, 4, 0, 0, 3, AttentionConfig("source", "legacy", 1, 5), None)
    module = CrossModalAttention(3, config.attention)
    return config, lambda image: module(image, image)


def discriminator(blocks):
    config = DiscriminatorConfig(False, False, 0.01, 2, 4, blocks)
    return config, PatchDiscriminator(3, config)


def depth():
    config = DepthConfig(10, 4, 2)
    return config, DepthNetwork(config)


def gaussian_detector():
    config = GaussianDetectorConfig(2, 0.1, 0.01, 1, 2, 4, 4)
    return config, GaussianDetector(config)


def heatmap_motion():
    config = HeatmapMotionConfig(False, 1, 2, 4, 4)
    network = HeatmapMotion(config, 2, True)
    return config, lambda image: network.eval()(image, GAUSSIANS, GAUSSIANS)


def unet():
    config = MonkeyGeneratorConfig(2, 4, 4, 0, 3)
    return config, MonkeyGenerator(config, 2, True).eval().encode


PARTS = {
    "detector, by its blocks": lambda: detector(4),
    "detector, by its head": lambda: detector(2),
    "motion": motion,
    "attention": attention,
    "discriminator of three blocks": lambda: discriminator(3),
    "discriminator of four": lambda: discriminator(4),
    "depth": depth,
    "Gaussians": gaussian_detector,
    "heatmaps": heatmap_motion,
    "U-Net": unet,
}


@pytest.mark.parametrize("name", PARTS)
def test_the_least_side_is_the_least(name):
    torch.manual_seed(0)
    config, network = PARTS[name]()
    network = network.eval() if isinstance(network, torch.nn.Module) else network
    side = config.least_side
    with torch.no_grad():
        network(torch.rand(1, 3, side, side))
        with pytest.raises((RuntimeError, ValueError)):
            network(torch.rand(1, 3, side - 1, side - 1))


def test_a_part_that_sees_a_smaller_image_needs_a_larger_one():
    assert least_side(0.25, 5) == 128
    assert KeypointDetectorConfig(2, False, False, 0.1, 0.25, 2, 4, 2).least_side == 4 * 7


def test_the_part_that_needs_most_is_named():
    parts = {"first": MotionConfig(0.01, 1, 2, 4, 4), "second": MotionConfig(0.01, 0.5, 2, 4, 4)}
    check_sides(32, **parts)
    with pytest.raises(UserError, match=r"^image_size 31 is too small for model.init_args.second; choose 32 or more"):
        check_sides(31, **parts)


@pytest.mark.parametrize("size", [64, 124])
def test_images_too_small_for_dagan_are_refused(dagan, size):
    with pytest.raises(UserError, match=rf"{size} is too small for model.init_args.keypoints; choose 128 or more"):
        dagan(image_size=size)


def test_images_too_small_for_the_depth_stage_are_refused(depth_stage):
    with pytest.raises(UserError, match=r"32 is too small for model.init_args.depth; choose 33 or more"):
        depth_stage("tiny/dagan_depth.yaml", image_size=32)


def test_images_too_small_for_the_perceptual_loss_are_refused_before_a_fit(dagan):
    model = dagan("tiny/dagan.yaml", image_size=64, perceptual={"kind": "vgg19", "scales": [1, 0.125]})
    with pytest.raises(UserError, match=r"64 is too small for model.init_args.perceptual; choose 128 or more"):
        model.setup("fit")


@pytest.mark.parametrize(
    ("method", "size", "part", "least"),
    [("monkey_net", 64, "detector", 128), ("tpsmm", 64, "motion", 128), ("osfv", 16, "discriminator", 29)],
)
def test_images_too_small_for_the_other_methods_are_refused(method, size, part, least):
    scale, changes = ("tiny", {"canonical.num_blocks": 2}) if method == "osfv" else ("paper", {})
    with torch.device("meta"), pytest.raises(ValueError, match=rf"model.init_args.{part}; choose {least} or more"):
        built(method, scale, size, **changes)
