"""Masks of the inpainting task: their shares, their regions, and what of the latents they leave."""

import pytest
import torch

from models.errors import UserError
from models.joint import masks
from models.joint.masks import MaskMixture, draw_masks, draw_regions, kept, on_latents

MIXTURE = MaskMixture(0.25, {"image": 0.2, "depth": 0.3}, {"image": 0.15}, 0.1)


def face(count: int) -> torch.Tensor:
    skin = torch.zeros(count, 1, 16, 16, dtype=torch.bool)
    skin[:, :, 4:12, 3:13] = True
    return skin


def test_kinds_are_drawn_as_often_as_the_mixture_says():
    torch.manual_seed(0)
    masks = draw_masks(MIXTURE, ["image", "depth"], face(8000)).flatten(2)
    least, most = masks.amin(2), masks.amax(2)
    whole, none, part = least == 1, most == 0, (least == 0) & (most == 1)
    shares = {
        "joint": (whole.all(1), 0.25),
        "image to depth": (none[:, 0] & whole[:, 1], 0.2),
        "depth to image": (whole[:, 0] & none[:, 1], 0.3),
        "region of the image": (part[:, 0] & none[:, 1], 0.15),
        "regions": (part.all(1), 0.1),
    }
    for name, (found, wanted) in shares.items():
        assert abs(found.float().mean() - wanted) < 0.02, name
    assert sum(found.sum() for found, _ in shares.values()) > 7900  # a region may be all or nothing, rarely


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(UserError, match=r"sum to 1\.1"):
        MaskMixture(0.3, {"image": 0.25, "depth": 0.3}, {"image": 0.15}, 0.1)
    with pytest.raises(UserError, match=r"positive"):
        MaskMixture(1.2, {"image": -0.2}, {}, 0)


def test_regions_are_boxes_strokes_and_bands_of_the_face_of_a_fair_size():
    torch.manual_seed(0)
    regions = draw_regions(face(3000)).float()
    size = regions.mean((1, 2, 3))
    assert regions.shape == (3000, 1, 16, 16)
    assert 0.1 < size.mean() < 0.5
    assert (size > 0).float().mean() > 0.97
    outside = regions[:, :, :4].sum() / regions.sum()  # boxes and strokes lie anywhere, bands on the face only
    assert 0.02 < outside < 0.3


def test_a_face_that_is_not_there_gets_bands_over_the_whole_picture():
    torch.manual_seed(0)
    assert draw_regions(torch.zeros(500, 1, 16, 16, dtype=torch.bool)).any((1, 2, 3)).float().mean() > 0.97


def test_a_latent_cell_is_generated_if_any_of_its_pixels_is():
    masks = torch.zeros(1, 2, 1, 8, 8)
    masks[0, 1, 0, 5, 2] = 1
    cells = on_latents(masks, 4)
    assert cells[0, 0].sum() == 0
    assert cells[0, 1, 0].tolist() == [[0, 0], [1, 0]]


def test_what_is_kept_is_all_or_nothing_of_whole_masks_and_a_cell_less_of_partial_ones():
    clean, masks = torch.ones(3, 1, 2, 6, 6), torch.zeros(3, 1, 1, 6, 6)
    masks[1] = 1
    masks[2, :, :, 2, 2] = 1
    left = kept(clean, masks)
    assert left[0].eq(1).all()
    assert left[1].eq(0).all()
    assert left[2, 0, 0, 1:4, 1:4].eq(0).all()
    assert left[2, 0, 0].sum() == 36 - 9


def test_bands_are_as_wide_as_the_face():
    skin = torch.zeros(300, 1, 16, 16, dtype=torch.bool)
    skin[..., 4:12, 4:12] = True
    torch.manual_seed(0)
    bands = masks._bands(skin)
    assert not bands[..., :4].any()
    assert not bands[..., 12:].any()
    assert bands[..., 4:12].any((1, 2)).all()
