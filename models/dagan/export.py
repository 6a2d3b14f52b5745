"""A checkpoint of DaGAN for others' programs: python -m models.dagan.export --ckpt CKPT --out FOLDER [--onnx].

The folder is what `models.dagan.DaGAN.from_pretrained` reads, and what the hub takes; with ``--onnx`` both graphs of
`models.dagan.onnx_graphs` stand in it too.
"""

import argparse
import sys
from pathlib import Path

from models.base import VERSION, read_checkpoint
from models.dagan import DaGAN
from models.dagan.onnx_graphs import export_onnx
from models.errors import UserError, constructing
from models.files import make, room
from models.reading import reading


def export(checkpoint: Path, folder: Path, onnx: bool) -> None:
    """Writes the folder.

    Args:
        checkpoint: That of a fit, or of released weights.
        folder: Where to.
        onnx: Whether to write the graphs too.

    Raises:
        UserError: If the checkpoint is damaged or of another model, or the graphs' package is missing.
    """
    model = _model(checkpoint)
    make(folder)
    with room(folder):  # of the hub's own card, too
        model.save_pretrained(folder)
    if onnx:
        export_onnx(model, folder)


def _model(checkpoint: Path) -> DaGAN:
    remedy = "name one that a fit of DaGAN by this version left, or that benchmarks.released made of a released file."
    if "hyper_parameters" not in read_checkpoint(checkpoint, remedy, [VERSION]):
        raise UserError(f"'{checkpoint}' does not hold its arguments; {remedy}")
    with reading(checkpoint, "checkpoint of DaGAN", remedy), constructing():
        return DaGAN.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()


def main(arguments: list[str] | None = None) -> None:
    """Exports a checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m models.dagan.export", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--ckpt", type=Path, required=True, help="The checkpoint of a fit, or of released weights.")
    parser.add_argument("--out", type=Path, required=True, help="The folder to write.")
    parser.add_argument("--onnx", action="store_true", help="Write source.onnx and frame.onnx, too.")
    given = parser.parse_args(arguments)
    try:
        export(given.ckpt, given.out, given.onnx)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{given.out}: {', '.join(sorted(path.name for path in given.out.iterdir()))}")


if __name__ == "__main__":
    main()
