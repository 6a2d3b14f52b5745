"""Outside its documented domain every public function of the package raises a ValueError of one sentence."""

import importlib
import inspect
import pkgutil

import pytest
import torch

import metrics
from metrics import (
    alignment,
    depth,
    image,
)
from metrics.windows import HAS_NUMBA
from tests.metrics.domains import ALL, BAD, DEPTH, NAN

WITHOUT = {  # what has no number to be wrong, and why
    "dlib_faces.detector": "takes nothing",
    "dlib_faces.enlarged": "takes what `face_analysers.as_pixels` has checked",
    "dlib_faces.identity": "takes nothing",
    "dlib_faces.points": "takes nothing",
    "face_scores.common_valid": "takes what a metric has stored",
    "packages.from_files": "takes names of files",
    "packages.optional": "takes the name of a package",
    "procface.shipped": "takes a device",
    "proxyedit.classes_of": "takes words, of which any may be unknown",
    "proxyedit.shipped_proxyedit": "takes a device",
    "statistics.holm": "takes p, of which nan means not tested",
}


def public():
    """Every function that a module of the package defines under a public name."""
    functions = {}
    for module in pkgutil.iter_modules(metrics.__path__):
        if module.name == "windows_numba" and not HAS_NUMBA:
            continue
        there = importlib.import_module(f"metrics.{module.name}")
        for name, value in vars(there).items():
            function = inspect.unwrap(value) if callable(value) else value
            if inspect.isfunction(function) and function.__module__ == there.__name__ and not name.startswith("_"):
                functions[f"{module.name}.{name}"] = value
    return functions


PUBLIC = public()


def test_every_public_function_of_the_package_is_tried():
    assert set(PUBLIC) - set(WITHOUT) == set(BAD) - (set() if HAS_NUMBA else {"windows_numba.similarity_maps"})
    assert set(WITHOUT) <= set(PUBLIC)


@pytest.mark.parametrize("name", sorted(set(BAD) & set(PUBLIC)))
def test_outside_its_domain_a_function_raises_one_sentence(name):
    for place, bad in enumerate(BAD[name]):
        with pytest.raises(ValueError, match=r"\S") as raised:
            print(name, place, bad(PUBLIC[name]))
        assert "\n" not in str(raised.value)


def test_a_negated_or_zero_depth_is_no_perfect_score():
    assert depth.delta(DEPTH, DEPTH, ALL).tolist() == [1, 1]
    outside = ALL & (torch.arange(8) < 4)
    for bad in (-DEPTH, DEPTH * 0, DEPTH * NAN):
        harmless = torch.where(outside, DEPTH, bad)  # what is not scored may hold anything
        assert depth.delta(harmless, DEPTH, outside).tolist() == [1, 1]
        assert alignment.affine_align(harmless, "depth", DEPTH, outside).status.tolist() == [0, 0]
        with pytest.raises(ValueError, match="aligned depth"):
            depth.delta(bad, DEPTH, ALL)


@pytest.mark.parametrize("function", [image.l1, image.ssim, lambda x, y: depth.rmse(x[:, :1] + 0.5, y[:, :1] + 1, ALL)])
def test_a_guarded_function_keeps_its_gradient(function):
    first = torch.rand(2, 3, 16, 16) if function is image.ssim else torch.rand(2, 3, 8, 8)
    first.requires_grad_()
    function(first, first.detach().flip(0)).sum().backward()
    assert first.grad.isfinite().all()
    assert first.grad.abs().sum() > 0
