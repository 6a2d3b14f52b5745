"""The Inception network of FID is the graph of 2015, not torchvision's."""

import pytest
import torch
from torch import nn
from torchvision.models import inception_v3
from torchvision.models.inception import InceptionA, InceptionC, InceptionE

from metrics.inception import InceptionTF2015


@pytest.fixture(scope="module")
def inception():
    torch.manual_seed(0)
    network = InceptionTF2015().eval()
    for module in network.modules():  # parameters that a picture shows through, and a test tells from the defaults
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.uniform_(-0.1, 0.1)
    return network


def test_inception_has_the_names_and_shapes_of_the_published_file(inception):
    reference = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    ours = inception.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in reference.items()}
    assert ours["fc.weight"].shape == (1008, 2048)


def test_inception_gives_pool3_of_grey_levels(inception):
    grey = torch.randint(0, 256, (1, 3, 299, 299), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        features = inception(grey)
        assert features.shape == (1, 2048)
        torch.testing.assert_close(features, inception.pool3((grey - 128) / 128))
        brighter = inception((grey + 40).clamp(0, 255))
    assert (features - brighter).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"takes pictures B 3 299 299, not .*resize"):
        inception(grey[..., :256, :256])


@pytest.mark.parametrize(
    ("block", "plain"),
    [("Mixed_5b", InceptionA(192, 32)), ("Mixed_6b", InceptionC(768, 128)), ("Mixed_7b", InceptionE(1280))],
)
def test_averages_leave_out_the_padding(inception, block, plain):
    ours = getattr(inception, block)
    plain.load_state_dict(ours.state_dict())
    channels = plain.branch_pool.conv.in_channels
    pooled = plain.branch_pool.conv.out_channels
    x = torch.rand(1, channels, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got, theirs = ours(x), plain.eval()(x)
        corner = torch.zeros_like(x)
        corner[..., 0, 0] = x[..., :2, :2].mean((2, 3))  # the four pixels that are there, not nine
        expected = plain.branch_pool(corner)[0, :, 0, 0]
    torch.testing.assert_close(got[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1])
    torch.testing.assert_close(got[:, :-pooled], theirs[:, :-pooled])
    torch.testing.assert_close(got[0, -pooled:, 0, 0], expected)
    assert (got[..., 0, 0] - theirs[..., 0, 0]).abs().max() > 1e-4


def test_the_last_block_pools_the_maximum(inception):
    x = torch.rand(1, 2048, 3, 3, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        got = inception.Mixed_7c(x)[0, -192:, 1, 1]
        expected = inception.Mixed_7c.branch_pool(x.amax((2, 3), keepdim=True))[0, :, 0, 0]
    torch.testing.assert_close(got, expected)


def test_inception_agrees_with_pytorch_fid(inception):
    published = pytest.importorskip("pytorch_fid.inception")
    theirs = published.fid_inception_v3.__globals__
    network = theirs["_inception_v3"](num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    for name, block in (("Mixed_5b", ("A", 192, 32)), ("Mixed_5c", ("A", 256, 64)), ("Mixed_5d", ("A", 288, 64))):
        setattr(network, name, theirs[f"FIDInception{block[0]}"](*block[1:-1], pool_features=block[-1]))
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        setattr(network, name, theirs["FIDInceptionC"](768, channels_7x7=width))
    network.Mixed_7b, network.Mixed_7c = theirs["FIDInceptionE_1"](1280), theirs["FIDInceptionE_2"](2048)
    network.load_state_dict(inception.state_dict())
    network.fc, network.dropout = nn.Identity(), nn.Identity()
    x = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(inception.pool3(x), network.eval()(x))
