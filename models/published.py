"""A model in one file that builds it again: safetensors with the configuration inside, by the hub's own mixin."""

import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, hf_hub_download
from lightning.pytorch.cli import instantiate_module
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from models.base import class_path
from models.errors import UserError
from models.files import write_bytes
from models.reading import reading

FILE = "model.safetensors"
AGAIN = "write it again with save_pretrained."


class Publishable(nn.Module, ModelHubMixin):
    """Gives a module ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    Attributes:
        given: The arguments that the module was made with, as plain values.
    """

    given: dict[str, Any]

    def _save_pretrained(self, save_directory: Path) -> None:
        """Writes the file into a folder."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        inside = {"format": "pt", "model_class": class_path(type(self)), "configuration": json.dumps(self.given)}
        write_bytes(save_directory / FILE, save(tensors, inside))  # `save_file` does not say that a disk is full

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:  # noqa: ANN401 - the mixin's own
        """Builds the module of a local folder, or of the hub, which is asked only for what is no folder.

        Raises:
            UserError: If the file is missing, damaged, or of another model.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            return cls.read(folder / FILE)
        return super().from_pretrained(pretrained_model_name_or_path, **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:  # noqa: ANN401 - the mixin's own
        asked = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return cls.read(Path(hf_hub_download(model_id, FILE, **{name: options[name] for name in asked})))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Builds the module of one file, for use and not for training.

        Raises:
            UserError: If the file is missing, damaged, or of another model.
        """
        with reading(path, "file of safetensors", AGAIN), safe_open(path, "pt") as file:
            inside = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if inside.get("model_class") != class_path(cls):
            held = inside.get("model_class", "weights without a configuration")
            raise UserError(f"'{path}' holds {held}, not {class_path(cls)}; name what save_pretrained wrote of one.")
        with reading(path, "file of this model", AGAIN):
            model = instantiate_module(cls, json.loads(inside["configuration"]))
            model.load_state_dict(tensors)
        return model.eval()
