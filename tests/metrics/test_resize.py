import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from metrics.resize import antialiased_bilinear, clip_bilinear, pil_bicubic, resize, tf1_bilinear


def _pictures(size):
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    return (torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 255).round()


def _by_pillow(pictures, filter):
    """The rule of clean-fid: each channel as a float32 picture."""
    planes = [np.asarray(Image.fromarray(plane.numpy()).resize((299, 299), filter)) for plane in pictures.flatten(0, 1)]
    return torch.from_numpy(np.stack(planes)).unflatten(0, (len(pictures), 3))


@pytest.mark.parametrize("size", [128, 512])
def test_case_19_bicubic_is_the_rule_of_clean_fid(size):
    expected = _by_pillow(_pictures(size), Image.Resampling.BICUBIC).clamp(0, 255)
    assert torch.equal(resize(_pictures(size), 299, "pil-bicubic"), expected)
    edges = torch.zeros(1, 3, 64, 64)
    edges[..., 32:] = 255  # bicubic overshoots an edge
    assert _by_pillow(edges, Image.Resampling.BICUBIC).max() > 255
    assert pil_bicubic(edges, 299).aminmax() == (0, 255)


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_case_19_tf1_bilinear_is_the_function_of_torch_fidelity(size):
    pictures = _pictures(size)
    expected = interpolate_bilinear_2d_like_tensorflow1x(pictures, size=(299, 299), align_corners=False)
    assert torch.equal(resize(pictures, 299, "tf1-bilinear"), expected)


@pytest.mark.parametrize("size", [128, 512])
def test_case_19_antialiased_bilinear_is_that_of_pytorch_and_pillow(size):
    ours = antialiased_bilinear(_pictures(size), 299)
    theirs = torch.nn.functional.interpolate(
        _pictures(size), (299, 299), mode="bilinear", align_corners=False, antialias=True
    )
    assert torch.equal(ours, theirs)
    pillow = _by_pillow(_pictures(size), Image.Resampling.BILINEAR)
    assert (antialiased_bilinear(_pictures(size).double(), 299) - pillow).abs().max() <= 5e-5
    assert (ours - pillow).abs().max() <= 2e-3  # PyTorch's weights are float32, whose error grows along a row


def test_case_19_the_rules_are_grey_levels_apart():
    bicubic, bilinear, legacy = (
        resize(_pictures(512), 299, rule) for rule in ("pil-bicubic", "antialiased-bilinear", "tf1-bilinear")
    )
    assert (bicubic - bilinear).abs().mean() > 0.3
    assert (bicubic - legacy).abs().mean() > (bicubic - bilinear).abs().mean()


def test_sizes_that_do_not_change_are_left_alone_and_rectangles_become_squares():
    pictures = _pictures(64)
    for rule in (pil_bicubic, tf1_bilinear, antialiased_bilinear):
        assert torch.allclose(rule(pictures, 64), pictures, atol=1e-4)
        assert rule(pictures[:, :, :40], 32).shape == (2, 3, 32, 32)
        flat = rule(torch.full((1, 3, 50, 40), 7.0), 64)
        assert torch.allclose(flat, torch.full_like(flat, 7), atol=1e-5)
    clips = torch.stack([pictures, pictures])
    assert torch.equal(clip_bilinear(clips, 64), clips)
    with pytest.raises(ValueError, match="no rule of resizing; choose from pil-bicubic"):
        resize(pictures, 299, "nearest")
