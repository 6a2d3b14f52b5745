import numpy as np
import pytest
import torch
from skimage import data


@pytest.fixture(scope="session")
def portrait() -> torch.Tensor:
    """A real face, 128 px, ``1 3 H W`` in [0, 1]: a crop of scikit-image's own test picture."""
    crop = data.astronaut()[0:256:2, 96:352:2]
    return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].double() / 255


@pytest.fixture(scope="session")
def pairs(portrait: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Four degraded copies and the face, ``4 3 H W``: noise of three strengths, and a blur."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(portrait.shape, generator=generator, dtype=torch.float64)
    noisy = [(portrait + sigma * noise).clamp(0, 1) for sigma in (0.01, 0.05, 0.2)]
    blurred = torch.nn.functional.avg_pool2d(portrait, 5, 1, 2, count_include_pad=False)
    return torch.cat([*noisy, blurred]), portrait.expand(4, -1, -1, -1)


@pytest.fixture(scope="session")
def face_depth() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """True depth of an ellipsoid 0.6 m away, its mask and intrinsics, with a background that must not count."""
    size = 48
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    u, v = (x - 23.5) / 18, (y - 23.5) / 21
    bulge = (1 - u**2 - v**2).clamp(min=0).sqrt().double()
    mask = (u**2 + v**2 < 0.8)[None, None]
    depth = torch.where(mask, 0.6 - 0.09 * bulge, 3.0)
    intrinsics = torch.tensor([[[120.0, 0, 23.5], [0, 120.0, 23.5], [0, 0, 1]]], dtype=torch.float64)
    return depth, mask, intrinsics
