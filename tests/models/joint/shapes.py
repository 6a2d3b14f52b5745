"""Shapes for the tests of relighting and of surfaces."""

import torch


def tensor(*values):
    return torch.tensor(values)


def grid(size=33):
    y, x = torch.meshgrid(torch.arange(size) - size // 2, torch.arange(size) - size // 2, indexing="ij")
    return x[None, None].float(), y[None, None].float()


def everywhere(x):
    return torch.ones_like(x, dtype=torch.bool)
