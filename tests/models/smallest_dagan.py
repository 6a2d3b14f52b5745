"""The smallest DaGAN that has every part, and pictures for it."""

import torch

TINY = "tiny/dagan.yaml"
SMALLEST = {
    "keypoints": {"block_expansion": 4, "max_features": 16, "num_blocks": 2},
    "motion": {"block_expansion": 4, "max_features": 16, "num_blocks": 2},
    "generator": {"block_expansion": 8, "max_features": 16, "attention": {"reduction": 1}},
    "discriminator": {"block_expansion": 4, "max_features": 16},
    "depth": {"layers": 10, "width": 4, "decoder_width": 2},
}
SMALL_SPADE = {"spade": {"width": 16, "middle_blocks": 1, "compressed": 4, "hidden": 4}}


def pairs(batch=2, size=64):
    torch.manual_seed(1)
    return {"source": torch.rand(batch, 3, size, size), "driving": torch.rand(batch, 3, size, size)}
