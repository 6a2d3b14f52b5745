"""DaGAN as two ONNX graphs: what is computed of a source once, and what of every driving frame (opset 16).

``source.onnx`` maps a picture to all that a frame needs of it. ``frame.onnx`` maps that, a driving frame, the keypoints
of an initial driving frame and a scale to a picture. With the source's own keypoints in the place of the initial ones
and scale 1 the motion is absolute; with those of a driving frame it is relative (FOMM, eq. 10).
"""

import warnings
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from models.dagan import DaGAN
from models.dagan.generator import SourceCode
from models.dagan.keypoints import AffineKeypoints
from models.dagan.warping import inverse_2x2
from models.errors import UserError
from models.files import aside

OPSET = 16  # the first with the sampling of a grid
SOURCE, FRAME = "source.onnx", "frame.onnx"


class SourceGraph(nn.Module):
    """A source ``1 3 S S`` to its features, depth features if the attention asks them, and keypoints."""

    def __init__(self, model: DaGAN) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """Returns the tensors that `names` names."""
        disparity = self.model.disparity(source)
        points = self.model.find_keypoints(source, disparity)
        code = self.model.generator.encode(source, disparity)
        return tuple(x for x in (code.features, code.depth_features, *points) if x is not None)


class FrameGraph(nn.Module):
    """What `SourceGraph` gives, a driving frame, initial keypoints and a scale to a picture ``1 3 S S``."""

    def __init__(self, model: DaGAN) -> None:
        super().__init__()
        self.model, self.names = model, names(model)

    def forward(self, source: Tensor, driving: Tensor, scale: Tensor, *rest: Tensor) -> Tensor:
        """Takes the source's tensors in the order of `names`, then the initial keypoints."""
        given = dict(zip([*self.names, *initial(self.names)], rest, strict=True))
        disparity = self.model.disparity(driving)
        here = AffineKeypoints(given["value"], given.get("jacobian"))
        there = self.model.find_keypoints(driving, disparity)
        moved = here.value + scale * (there.value - given["initial_value"])
        jacobian = None
        if here.jacobian is not None and there.jacobian is not None:
            undone = inverse_2x2(given["initial_jacobian"], self.model.determinant_floor)
            jacobian = there.jacobian @ undone @ here.jacobian
        code = SourceCode(source, given["features"], given.get("depth_features"))
        return self.model.generator(code, here, AffineKeypoints(moved, jacobian), disparity)


def names(model: DaGAN) -> list[str]:
    """The outputs of ``source.onnx``."""
    depth = ["depth_features"] if model.generator.query in ("source", "warped") else []
    return ["features", *depth, "value", *(["jacobian"] if model.given["keypoints"]["jacobian"] else [])]


def initial(of: list[str]) -> list[str]:
    """The inputs of ``frame.onnx`` that hold the initial keypoints."""
    return [f"initial_{name}" for name in of if name in ("value", "jacobian")]


def export_onnx(model: DaGAN, folder: Path) -> None:
    """Writes both graphs into a folder, for one sample at the model's own size.

    Raises:
        UserError: If the package ``onnx`` is not installed.
    """
    model = _plain(model)
    source = torch.rand(1, 3, model.image_size, model.image_size)
    whole, frame = SourceGraph(model), FrameGraph(model)
    with torch.no_grad():
        of_source = whole(source)
    points = tuple(x for x, name in zip(of_source, frame.names, strict=True) if name in ("value", "jacobian"))
    _export(whole, (source,), folder / SOURCE, ["source"], frame.names)
    inputs = (source, source, torch.ones(()), *of_source, *points)
    given = ["source", "driving", "scale", *frame.names, *initial(frame.names)]
    _export(frame, inputs, folder / FRAME, given, ["image"])


def _plain(model: DaGAN) -> DaGAN:
    """A copy whose spectral norms are divided out, for the exporter knows no dot product."""
    model = deepcopy(model).to("cpu").eval()
    for module in model.modules():
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return model


def _export(graph: nn.Module, inputs: tuple[Tensor, ...], path: Path, ins: list[str], outs: list[str]) -> None:
    try:
        import onnx  # noqa: F401 - the exporter needs it, and says so in a traceback
    except ImportError:
        raise UserError("Graphs are written with the package onnx: pip install 'portrait-bench[onnx]'") from None
    with aside(path) as partial, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing's advice on shapes, which do not change
        # The newer exporter begins at opset 18, which fewer runtimes read.
        torch.onnx.export(graph, inputs, partial, input_names=ins, output_names=outs, opset_version=OPSET, dynamo=False)
