"""Published networks, through diffusers' own loaders: from a folder or the hub's cache, and never fetched here."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, MotionAdapter, UNet2DConditionModel
from torch import Tensor

from models.errors import UserError
from models.hub import local
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
    words, encoder = text_tower(folder)
    tokens = words("", padding="do_not_pad", return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(tokens).last_hidden_state


def text_tower(folder: str) -> tuple[Any, Any]:
    """The tokenizer and the text encoder of a pipeline, the latter in evaluation mode.

    Args:
        folder: Of the pipeline, as of `load_unet`.

    Raises:
        UserError: If either is absent or damaged.
    """
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise UserError(
            "Stable Diffusion's text encoder needs transformers: pip install 'portrait-bench[adapters]'"
        ) from None
    place = find(folder)
    with reading(_part(place, "tokenizer", "tokenizer.json", "vocab.json"), "tokenizer", _AGAIN):
        words = CLIPTokenizer.from_pretrained(place / "tokenizer", local_files_only=True)
    with reading(_part(place, "text_encoder", "config.json"), "text encoder", _AGAIN):
        held: Any = CLIPTextModel.from_pretrained(
            place / "text_encoder", local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        encoder, told = held
        _refuse_gaps(told)
    return words, encoder.eval()


def vision_tower(folder: str) -> Any:  # noqa: ANN401 - for a type checker transformers' classes have nothing
    """The vision tower of CLIP, from a folder of it alone or of the whole, in evaluation mode.

    Args:
        folder: As of `load_unet`.

    Raises:
        UserError: If it is absent or damaged.
    """
    try:
        from transformers import CLIPVisionModel
    except ImportError:
        raise UserError("CLIP's vision tower needs transformers: pip install 'portrait-bench[adapters]'") from None
    place = find(folder)
    with reading(_part(place, "", "config.json"), "vision tower", _AGAIN):
        held: Any = CLIPVisionModel.from_pretrained(
            place, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        tower, told = held
        _refuse_gaps(told)
    return tower.eval()


def base_weights(folder: str) -> dict[str, Tensor]:
    """The denoiser of a pipeline and its constant context, as `networks.PlainDenoiser` names them.

    Raises:
        UserError: As `load_unet` and `empty_prompt`.
    """
    unet = {f"unet.{name}": value for name, value in load_unet(folder).state_dict().items()}
    return unet | {"context": empty_prompt(folder)}


def find(folder: str) -> Path:
    """The folder itself, or the copy in the hub's cache of what the hub calls so.

    Raises:
        UserError: If it is neither; the message says how to get it.
    """
    path = local(folder)
    if path is None:
        is_name = folder.count("/") == 1 and folder[0] not in "./~"
        fetched = f", or fetch it first: hf download {folder}" if is_name else ""
        raise UserError(f"'{folder}' is not on this machine: give a folder that holds it{fetched}")
    return path


def _load(kind: Any, folder: str, part: str) -> Any:  # noqa: ANN401 - for a type checker diffusers' classes have nothing
    """A network in evaluation mode, all of whose weights came from the files.

    diffusers would fill what is missing with random numbers, and read any configuration as any class.
    """
    place = find(folder)
    if (place / part / "config.json").is_file():
        place = place / part
    held = read_json(_part(place, "", "config.json"), "configuration", _AGAIN).get("_class_name")
    if held != kind.__name__:
        raise UserError(f"'{place}' holds a {held}, not the {kind.__name__} that is asked for: name another folder.")
    weights = _part(place, "", "diffusion_pytorch_model*.bin*", "diffusion_pytorch_model*.safetensors*")
    options = {"local_files_only": True, "use_safetensors": ".safetensors" in weights.name, "low_cpu_mem_usage": False}
    with reading(place, kind.__name__, _AGAIN):
        network, told = kind.from_pretrained(place, **options, output_loading_info=True, ignore_mismatched_sizes=True)
        _refuse_gaps(told)
    return network.eval()


def _part(place: Path, part: str, *files: str) -> Path:
    """A file of a folder's part: the last of some patterns that is there.

    Raises:
        UserError: If none is.
    """
    held = [path for file in files for path in sorted((place / part).glob(file))]
    if not held:
        raise UserError(f"'{place}' holds no '{Path(part, files[-1])}': {_AGAIN}")
    return held[-1]


def _refuse_gaps(told: dict[str, Any]) -> None:
    """Raises if weights were missing, or had another shape."""
    for kind in ("missing_keys", "mismatched_keys"):
        if gaps := sorted(gap if isinstance(gap, str) else gap[0] for gap in told[kind]):
            raise ValueError(f"{kind.split('_')[0]} in it is '{gaps[0]}'")
