"""Released weights in one line: a checkpoint of this suite from the files of DaGAN's and FOMM's authors.

python -m benchmarks.released --generator DaGAN_vox_adv_256.pth.tar --depth FOLDER --out CKPT

What the file's networks are is read off its tensors; grid and repairs are set as released, inside the checkpoint, so
that ``lightning predict -c benchmarks/dagan.yaml --ckpt_path=CKPT`` needs no overlay.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from benchmarks import cli
from models.dagan import DaGAN
from models.dagan.released import DEPTH_FILES, Release, ReleasedWeights, checkpoint_of, load, read_depth, read_release
from models.dagan.released_sizes import is_fomm, needs_depth, options
from models.errors import UserError, stoppable
from models.files import aside, check_output

YAML = Path(__file__).parent


def convert(generator: Path, depth: Path | None, out: Path, overwrite: bool = False) -> str:
    """Writes the checkpoint, and says what the file holds.

    Args:
        generator: The released file.
        depth: The folder of the depth network, which DaGAN needs and FOMM has not.
        out: The checkpoint.
        overwrite: Whether one of that name may be replaced.

    Raises:
        UserError: If a file is missing, damaged, or of another release, or the checkpoint is there already.
    """
    check_output(out, overwrite, [generator, *((depth / name) for name in DEPTH_FILES if depth)])
    release = read_release(generator)
    found = options(release, None)
    weights = _depth(depth, needs_depth(found))
    found = options(release, weights)
    model = _model(found)
    load(model, release, weights, generator)
    with aside(out) as partial, partial.open("wb") as file:  # of a path, torch does not say why it cannot be written
        torch.save(checkpoint_of(model, release, generator.name), file)
    return _summary(found, release)


def main(arguments: list[str] | None = None) -> None:
    """Converts a released file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.released", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--generator", type=Path, required=True, help="The file, such as DaGAN_vox_adv_256.pth.tar.")
    parser.add_argument("--depth", type=Path, help="The folder with encoder.pth and depth.pth; FOMM has none.")
    parser.add_argument("--out", type=Path, required=True, help="The checkpoint to write.")
    parser.add_argument("--overwrite", action="store_true", help="Replace a checkpoint of that name.")
    given = parser.parse_args(arguments)
    try:
        with stoppable():
            told = convert(given.generator, given.depth, given.out, given.overwrite)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{given.out}: {told}\nTo use it: lightning predict -c benchmarks/dagan.yaml --ckpt_path={given.out} ...")


def _depth(folder: Path | None, needed: bool) -> ReleasedWeights | None:
    if not needed:
        if folder is not None:
            raise UserError("These networks look at no depth, as FOMM's: leave --depth out.")
        return None
    if folder is None:
        raise UserError("These networks look at depth: give --depth, the folder with encoder.pth and depth.pth.")
    return read_depth(folder)


def _model(found: dict[str, Any]) -> DaGAN:
    """Built by the released settings, which are overlays, and by what the file's tensors say."""
    variants = ["released"]
    if is_fomm(found):
        variants.append("fomm_vox" if found.get("discriminator", {}).get("spectral_norm") else "fomm")
    files = [YAML / "dagan.yaml", *(YAML / "variants" / "dagan" / f"{name}.yaml" for name in variants)]
    settled = cli.parse(["fit", *(part for file in files for part in ("-c", str(file)))]).model.as_dict()
    torch.manual_seed(0)  # of a discriminator that the file may lack
    model = cli.model_of(Namespace(merged(settled, {"init_args": found})))
    assert isinstance(model, DaGAN)
    return model


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A tree with the leaves of another in the place of its own."""
    nested = {
        k: merged(base[k], v) for k, v in changes.items() if isinstance(v, dict) and isinstance(base.get(k), dict)
    }
    return base | changes | nested


def _summary(found: dict[str, Any], release: Release) -> str:
    method = "FOMM" if is_fomm(found) else "DaGAN"
    jacobians = "with" if found["keypoints"]["jacobian"] else "without"
    parts = [f"{method} of {found['keypoints']['number']} keypoints {jacobians} jacobians"]
    parts.append(_decoder(found["generator"]))
    parts += [f"depth by a ResNet-{found['depth']['layers']}"] if "depth" in found else []
    parts.append(f"after {release.epochs} epochs" if release.epochs else "epochs not counted")
    if "discriminator" not in release.networks:
        parts.append("no discriminator, so a random one that only a fit would use")
    parts.append("Adam's moments" if release.optimisers else "no moments of Adam, so that a fit begins them anew")
    return ", ".join(parts)


def _decoder(generator: dict[str, Any]) -> str:
    count = generator["num_bottleneck_blocks"]
    return "SPADE generator" if generator["spade"] else f"{count} bottleneck block{'s' * (count > 1)}"


if __name__ == "__main__":
    main()
