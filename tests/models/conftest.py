"""Builds models from the YAML files themselves, so that the files are what is tested."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import Trainer
from torch.utils.data import DataLoader

from models.dagan import DaGAN
from models.dagan.depth_stage import DepthStage
from models.lipflow import LiPFlow
from tests import avatar_toy as toy
from tests.models.smallest_dagan import SMALLEST, TINY

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: merge(base[key], value)
        for key, value in overlay.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | overlay | nested


def init_args(*files: str, **changes: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in files:
        merged = merge(merged, yaml.safe_load((BENCHMARKS / name).read_text())["model"]["init_args"])
    return merge(merged, changes)


def build(cls: type, *files: str, image_size: int = 64, **changes: Any) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "model")
    config = parser.parse_object({"model": init_args(*files, **changes) | {"image_size": image_size}})
    torch.manual_seed(0)
    return parser.instantiate(config).model


@pytest.fixture
def dagan() -> Callable[..., DaGAN]:
    return partial(build, DaGAN, "dagan.yaml")


@pytest.fixture
def smallest(dagan) -> Callable[..., DaGAN]:
    """The smallest DaGAN that has every part, under overlays and changes."""
    return lambda *files, **changes: dagan(TINY, *files, **SMALLEST | changes)


@pytest.fixture
def depth_stage() -> Callable[..., DepthStage]:
    return partial(build, DepthStage, "dagan_depth.yaml")


@pytest.fixture
def lipflow() -> Callable[..., LiPFlow]:
    return partial(build, LiPFlow, "lipflow.yaml")


@pytest.fixture
def fit() -> Callable[..., None]:
    """Trains on the same batch for a number of steps, through Lightning's own loop."""

    def run(model: Any, batch: dict[str, Any], steps: int, **options: Any) -> None:
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"max_epochs": 1} | options,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on loader workers
            trainer.fit(model, DataLoader([batch] * steps, batch_size=None))

    return run


@pytest.fixture
def make(lipflow):
    """Builds one of the models at its smallest, with the toy subject."""

    def built(name="flow", **changes):
        overlays = [f"variants/lipflow/{part}.yaml" for part in toy.MODELS[name]]
        model = lipflow("tiny/lipflow.yaml", *overlays, image_size=toy.SIZE, **toy.SMALLEST | changes)
        torch.manual_seed(3)
        model.set_subject(toy.subject())
        return model

    return built
