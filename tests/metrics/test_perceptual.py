import math

import lpips as package
import pytest
import torch

from metrics import perceptual
from metrics.base import Status
from metrics.image import as_saved, lpips
from metrics.perceptual import LPIPS, make_network, network_lpips
from models.errors import UserError

NETS = ("alex", "vgg", "squeeze")
NAMES = ["a/0", "a/1", "a/2", "a/3"]


@pytest.fixture(scope="module")
def small(pairs):
    return [torch.nn.functional.interpolate(x, size=(64, 64), mode="area").float() for x in pairs]


@pytest.fixture(scope="module")
def alex():
    torch.manual_seed(0)
    return make_network("alex")


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated", "ignore:Arguments other than a weight")
@pytest.mark.parametrize("net", NETS)
def test_case_9_the_wrapper_is_the_package_with_the_same_random_trunk(small, net):
    torch.manual_seed(1)
    reference = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    trunk = {
        f"features.{name.split('.', 1)[1]}": value.clone() for name, value in reference.net.state_dict().items()
    }  # as torchvision names it
    network = make_network(net, trunk)
    with torch.no_grad():
        expected = reference(2 * small[0] - 1, 2 * small[1] - 1)
        normalised = reference(small[0], small[1], normalize=True)
    ours = network_lpips(*small, network)
    assert ours.dtype == torch.float64
    assert torch.allclose(ours, expected.flatten().double(), atol=1e-7, rtol=0)
    assert torch.allclose(expected, normalised, atol=1e-7, rtol=0)
    assert (network_lpips(small[1], small[1], network) == 0).all()
    assert (ours > 0).all()


def test_case_35_mutations_of_lpips(small, alex):
    right = network_lpips(*small, alex)
    assert torch.allclose(network_lpips(small[1], small[0], alex), right, atol=1e-7)  # documented: interchangeable
    assert (network_lpips(small[0].flip(1), small[1], alex) - right > 1e-3).all()  # BGR
    assert (network_lpips(small[0].roll(1, 3), small[1], alex) - right > 1e-4).all()
    with torch.no_grad():
        wrong_range = alex.network(small[0], small[1]).flatten()  # [0, 1] as if it were [-1, 1]
    assert (wrong_range < 0.7 * right).all()
    with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
        network_lpips(2 * small[0] - 1, 2 * small[1] - 1, alex)
    with pytest.raises(ValueError, match="at least 32 pixels"):
        network_lpips(small[0][..., :31], small[1][..., :31], alex)


def test_a_mask_averages_the_map_of_distances(small, alex):
    preds, target = small
    mask = torch.zeros(4, 1, 64, 64, dtype=torch.bool)
    mask[:, :, :32] = True
    alex.network.spatial = True
    distance = alex(preds, target, normalize=True)
    assert torch.allclose(network_lpips(preds, target, alex, mask), distance[:, 0, :32].mean((1, 2)).double())
    everywhere = network_lpips(preds, target, alex, torch.ones_like(mask))
    plain = network_lpips(preds, target, alex)
    assert torch.allclose(everywhere, plain, rtol=0.2)  # documented: near the plain value, not equal
    assert not torch.equal(everywhere, plain)
    blacked = network_lpips(preds * mask, target * mask, alex)
    assert not torch.allclose(blacked, network_lpips(preds, target, alex, mask), rtol=0.2)
    metric = LPIPS(masked=True, network=alex)
    mask[0] = False
    metric.update(preds, target, NAMES, mask=mask)
    value, status = metric.per_sample()[metric.sample_key("a/0")]
    assert math.isnan(value)
    assert status == Status.EMPTY_MASK
    assert metric.card.name == "LPIPS-alex-masked"


def test_the_class_holds_no_network_in_its_state_and_stays_frozen(small, alex):
    metric = LPIPS("alex", network=alex)
    assert metric.state_dict() == {}
    assert not list(metric.parameters())
    alex.network.train()
    alex.network.requires_grad_(True)
    metric.train()
    metric.half()
    metric.update(*small, NAMES)
    assert not alex.network.training
    saved = as_saved(small[0]), as_saved(small[1])
    assert metric.compute().item() == pytest.approx(network_lpips(*saved, alex).mean().item(), abs=1e-7)
    assert not metric.compute().requires_grad
    alex.network.requires_grad_(False)


def test_autocast_does_not_lower_the_precision(small, alex):
    right = network_lpips(*small, alex)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network_lpips(*small, alex), right)


def test_the_net_is_in_the_name_and_the_trunk_comes_from_the_cache_of_weights(small, monkeypatch):
    torch.manual_seed(3)
    published = {
        f"features.{k.split('.', 1)[1]}": v for k, v in make_network("squeeze").network.net.state_dict().items()
    }
    asked = []
    monkeypatch.setattr(perceptual.weights, "load", lambda name: asked.append(name) or published)
    perceptual.pretrained_network.cache_clear()
    metric = LPIPS("squeeze")
    assert asked == ["squeezenet_imagenet"]
    assert (metric.card.name, metric.card.backbone) == ("LPIPS-squeeze", "lpips-squeeze")
    expected = network_lpips(*small, make_network("squeeze", published))
    assert torch.equal(lpips(*small, net="squeeze"), expected)
    assert asked == ["squeezenet_imagenet"]  # read once
    perceptual.pretrained_network.cache_clear()


def test_absent_weights_and_unknown_nets_are_one_plain_sentence(small, monkeypatch):
    def absent(name):
        raise UserError(f"The weights '{name}' are not there")

    monkeypatch.setattr(perceptual.weights, "load", absent)
    perceptual.pretrained_network.cache_clear()
    with pytest.raises(UserError, match="alexnet_imagenet"):
        LPIPS()
    for use in (lambda: lpips(*small, net="resnet"), lambda: LPIPS("resnet"), lambda: make_network("resnet")):
        with pytest.raises(ValueError, match="no trunk of LPIPS; choose from alex, vgg, squeeze"):
            use()
