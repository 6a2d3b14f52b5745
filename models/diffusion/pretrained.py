"""Published networks, through diffusers' own loaders: from a folder or the hub's cache, and never fetched here."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, MotionAdapter, UNet2DConditionModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from models.errors import UserError
from models.reading import read_json, reading

_AGAIN = "name another folder, or put the whole of it there anew."


def load_unet(folder: str) -> UNet2DConditionModel:
    """The denoiser of a pipeline, such as Stable Diffusion 1.5's or Marigold's.

    Args:
        folder: Of the pipeline or of the network alone, or the hub's name of a pipeline that is in its cache.

    Raises:
        UserError: If it is absent, is something else, or is damaged; so for all loaders here.
    """
    return _load(UNet2DConditionModel, folder, "unet")


def load_kl(folder: str) -> AutoencoderKL:
    """The autoencoder of a pipeline, or one that is published alone."""
    return _load(AutoencoderKL, folder, "vae")


def load_tiny(folder: str) -> AutoencoderTiny:
    """The distilled autoencoder TAESD, which is published alone."""
    return _load(AutoencoderTiny, folder, "vae")


def load_motion(folder: str) -> MotionAdapter:
    """The motion modules of AnimateDiff, which are published alone."""
    return _load(MotionAdapter, folder, "motion_adapter")


def empty_prompt(folder: str) -> Tensor:
    """What the text encoder of a pipeline says of the empty prompt: a constant that a checkpoint keeps.

    Args:
        folder: Of the pipeline, as of `load_unet`.

    Returns:
        ``1 2 C``: the first and the last token, without padding (as Marigold has it).

    Raises:
        UserError: If the tokenizer or the encoder is absent or damaged.
    """
    from transformers import CLIPTextModel, CLIPTokenizer  # an extra; the suite runs without text

    place = find(folder)
    with reading(_part(place, "tokenizer", "tokenizer_config.json"), "tokenizer", _AGAIN):
        words = CLIPTokenizer.from_pretrained(place / "tokenizer", local_files_only=True)
        tokens = words("", padding="do_not_pad", return_tensors="pt").input_ids
    with reading(_part(place, "text_encoder", "config.json"), "text encoder", _AGAIN):
        held: Any = CLIPTextModel.from_pretrained(
            place / "text_encoder", local_files_only=True, output_loading_info=True
        )
        encoder, told = held
        _refuse_gaps(told)
    with torch.no_grad():
        return encoder.eval()(tokens)[0].float()


def find(folder: str) -> Path:
    """The folder itself, or the copy in the hub's cache of what the hub calls so.

    Raises:
        UserError: If it is neither; the message says how to get it.
    """
    if (path := Path(folder).expanduser()).is_dir():
        return path
    try:
        return Path(snapshot_download(folder, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        is_name = folder.count("/") == 1 and folder[0] not in "./~"
        fetched = f", or fetch it first: hf download {folder}" if is_name else ""
        raise UserError(f"'{folder}' is not on this machine: give a folder that holds it{fetched}") from None


def _load(kind: Any, folder: str, part: str) -> Any:  # noqa: ANN401 - for a type checker diffusers' classes have nothing
    """A network in evaluation mode, all of whose weights came from the files.

    diffusers would fill what is missing with random numbers, and read any configuration as any class.
    """
    place = find(folder)
    if (place / part / "config.json").is_file():
        place = place / part
    config = _part(place, "", "config.json")
    held = read_json(config, "configuration", _AGAIN).get("_class_name")
    if held != kind.__name__:
        raise UserError(f"'{place}' holds a {held}, not the {kind.__name__} that is asked for: name another folder.")
    with reading(place, kind.__name__, _AGAIN):
        network, told = kind.from_pretrained(
            place, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
        _refuse_gaps(told)
    return network.eval()


def _part(place: Path, part: str, file: str) -> Path:
    """A file that a pipeline's folder must hold.

    Raises:
        UserError: If it does not.
    """
    if not (path := place / part / file).is_file():
        raise UserError(f"'{place}' holds no '{Path(part, file)}': {_AGAIN}")
    return path


def _refuse_gaps(told: dict[str, Any]) -> None:
    """Raises if weights were missing, or had another shape."""
    for kind in ("missing_keys", "mismatched_keys"):
        if gaps := sorted(map(str, told[kind])):
            raise ValueError(f"{kind.split('_')[0]} in it is '{gaps[0]}'")
