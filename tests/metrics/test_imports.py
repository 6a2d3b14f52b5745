"""What the metrics rest on: ``import metrics.image`` costs little more than PyTorch and torchmetrics."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_OURS = ("weights", "errors", "reading", "pixels", "weight_files")  # of models
FILES = [*sorted((ROOT / "metrics").glob("*.py")), *(ROOT / "models" / f"{name}.py" for name in OF_OURS)]
LIBRARIES = {"torch", "torchmetrics", "torchvision", "numpy", "scipy", "safetensors", "PIL"}


def imported(file: Path, functions: bool = True) -> set[str]:
    """The modules that a file imports, ``models.weights`` also for ``from models import weights``."""
    tree = ast.parse(file.read_text())
    nodes = ast.walk(tree) if functions else iter(tree.body)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            packages = node.module in ("metrics", "models")
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if packages else {node.module}
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_metrics_import_no_lightning_and_of_ours_only_weights_errors_and_what_these_rest_on(file):
    of_ours = {name for name in imported(file) if name.split(".")[0] in ("models", "datamodules", "benchmarks")}
    assert of_ours <= {f"models.{name}" for name in OF_OURS}
    at_once = {name.split(".")[0] for name in imported(file, functions=False)} - {"metrics", "models"}
    compiled = {"numba"} if file.stem == "windows_numba" else set()  # imported by a function, where it is installed
    assert at_once <= LIBRARIES | compiled | sys.stdlib_module_names
