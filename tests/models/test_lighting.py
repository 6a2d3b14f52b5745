"""The light on hair and skin against vectors written out, and the compiled loops against PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.rendering import shading
from models.rendering.lighting import Light, Strands, averaged, lit


def samples(count: int) -> tuple[Light, tuple[Tensor, ...], Strands]:
    """Random surfaces before the camera, every third of them hair, in a random light."""
    rng = torch.Generator().manual_seed(1)
    normals, fall = (shading.unit(torch.randn(3, count, generator=rng)) for _ in range(2))
    points = torch.randn(3, count, generator=rng) * 0.1 + torch.tensor([[0.0], [0.0], [1.0]])
    direction = shading.unit(torch.tensor([[0.4], [-0.5], [-1.0]]))[:, 0]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng))[0]
    around, wrap = 0.2 * torch.randn(9, 3, generator=rng) + 0.1, torch.tensor([0.4, 0.2, 0.1])
    light = Light(direction, torch.tensor([0.5, 0.45, 0.4]), around, turn, wrap, 0.3, 0.4)
    texels, shadow = 0.5 * torch.rand(5, count, generator=rng), torch.rand(count, generator=rng)
    at = torch.arange(0, count, 3)
    return light, (normals, points, texels, shadow), Strands(at, fall[:, at], torch.ones(len(at)))


def test_hair_is_brightest_where_strands_lie_across_the_half_vector():
    """Against the two lobes of Scheuermann's sketch, written with vectors, sample by sample."""
    light, given, hair = samples(90)
    shown = lit(light, *given, hair)[:, hair.at].double().numpy()
    normals, points, texels, shadow = (tensor[..., hair.at].double().numpy() for tensor in given)
    ambient = shading.harmonic_irradiance(shading.turned(given[0], light.to_world), light.around)[:, hair.at].numpy()
    towards, key = light.direction.double().numpy(), light.colour.double().numpy()
    for n in range(len(hair.at)):
        normal, eye = normals[:, n], -points[:, n] / np.linalg.norm(points[:, n])
        half = (towards + eye) / np.linalg.norm(towards + eye)
        strand = hair.fall[:, n].double().numpy()
        strand = strand - (strand @ normal) * normal
        strand /= np.linalg.norm(strand)
        paint, gloss, visible = texels[:3, n], texels[3, n], 1 - (0.92 - 0.3 * 0.4) * shadow[n]
        lobes = []
        for shift, width in ((-0.10, 90), (0.12, 18)):
            leaning = strand + (shift + 0.5 * gloss - 0.2) * normal
            lobes.append(np.sqrt(max(1 - (leaning @ half / np.linalg.norm(leaning)) ** 2, 1e-4)) ** width)
        across = np.sqrt(1 - (strand @ towards) ** 2)
        diffuse = max((normal @ towards + 0.3) / 1.3, 0) * (0.35 + 0.65 * across) * visible
        shine = np.clip(3 * normal @ towards + 0.3, 0, 1) * visible * gloss * light.shine
        colour = paint * (ambient[:, n] + key * (diffuse + 2.2 * shine * lobes[1]))
        colour += key * (0.34 * lobes[0] + 0.05 * lobes[1]) * shine
        expected = shading.to_srgb(torch.from_numpy(colour)).numpy()
        assert np.allclose(shown[:, n], expected, atol=1e-5)


def test_skin_is_redder_past_the_terminator_and_at_the_edge_of_a_shadow():
    light, (_, points, texels, shadow), hair = samples(3)
    grey = torch.full_like(texels, 0.4)
    grey[4] = 1
    plain = replace(light, around=torch.zeros(9, 3), colour=torch.ones(3), shine=0.0, softness=0.0)
    side = shading.unit(torch.linalg.cross(light.direction, torch.tensor([0.0, 1.0, 0.0]))[:, None])
    turned = side - 0.15 * light.direction[:, None].expand(3, 3)
    past = lit(plain, shading.unit(turned), points, grey, 0 * shadow, without(hair))
    assert (past[0] > past[1] + 0.05).all()
    ahead = light.direction[:, None].expand(3, 3)
    shades = lit(plain, ahead, points, grey, torch.tensor([0.0, 0.5, 1.0]), without(hair))
    red = (shades[0] / shades[1]).tolist()
    assert red[1] > red[0] + 0.04
    cloth = lit(
        plain,
        ahead,
        points,
        grey * torch.tensor([1.0, 1, 1, 1, 0])[:, None],
        torch.tensor([0.0, 0.5, 1.0]),
        without(hair),
    )
    ratio = (cloth[0] / cloth[1]).tolist()
    assert ratio[1] == pytest.approx(ratio[0], abs=0.02)


def without(hair: Strands) -> Strands:
    """The same without a strand."""
    return Strands(hair.at[:0], hair.fall[:, :0], hair.outside[:0])


def test_backends_give_the_same_light_and_means():
    pytest.importorskip("numba")
    light, given, hair = samples(9001)  # more than the compiled loop takes at once
    assert torch.equal(lit(light, *given, hair, "numba"), lit(light, *given, hair))
    colours, behind = given[2][:3, :1003].contiguous(), torch.rand(1, 3, 20, 20)
    pixel = torch.randperm(2 * 40 * 40)[:1003].sort().values
    assert torch.equal(
        averaged(colours, pixel, (2, 40, 40), behind, "numba"), averaged(colours, pixel, (2, 40, 40), behind)
    )
