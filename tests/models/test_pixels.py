import numpy as np
import pytest
import torch
from skimage.util import img_as_ubyte

from models.pixels import to_uint8


def test_levels_are_scikit_images_and_what_lies_outside_is_clamped():
    images = torch.rand(2, 3, 17, 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_array_equal(to_uint8(images).numpy(), img_as_ubyte(images.numpy()))
    assert to_uint8(torch.tensor([-0.5, 0.0, 1.0, 7.0])).tolist() == [0, 0, 255, 255]


def test_halves_go_to_the_even_level_in_the_images_own_precision():
    assert to_uint8(torch.tensor([0.5, 1.5, 2.5], dtype=torch.float64) / 255).tolist() == [0, 2, 2]
    images = torch.rand(10**6, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(to_uint8(images).numpy(), np.rint(images.numpy() * np.float32(255)))
    assert not torch.equal(to_uint8(images), to_uint8(images.double()))


def test_a_file_comes_back_as_it_was_and_the_images_are_left_alone():
    levels = torch.arange(256, dtype=torch.uint8)
    images = levels / 255
    before = images.clone()
    assert torch.equal(to_uint8(images), levels)
    assert torch.equal(images, before)
    assert not to_uint8(images.requires_grad_()).requires_grad


def test_levels_are_not_rounded_again():
    with pytest.raises(ValueError, match=r"The images are torch.uint8; pass floats in \[0, 1\]"):
        to_uint8(torch.zeros(3, dtype=torch.uint8))
