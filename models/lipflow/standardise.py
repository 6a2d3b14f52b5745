"""The subject inside a model: topology, standardisation, and the drawing of standardised values."""

import torch
from torch import Tensor, nn

from models.errors import UserError
from models.lipflow.networks import AppearanceConfig
from models.rendering import mesh
from models.rendering.visibility import Backend
from models.tasks.avatar import Cameras, Subject


class StandardSubject(nn.Module):
    """Holds what a fit learns of its subject before the first step, as buffers, so that a checkpoint is complete.

    Vertices and textures are standardised by their means and by one number each, as in Multiface: all losses are then
    of one size.

    Args:
        config: The sizes that the subject must have.
        keypoints: Keypoints.
        rasteriser: Backend of the visibility; all give the same result.
    """

    faces: Tensor
    corner_uv: Tensor
    vertex_mean: Tensor
    vertex_std: Tensor
    texture_mean: Tensor
    texture_std: Tensor
    keypoint_vertices: Tensor
    keypoint_std: Tensor

    def __init__(self, config: AppearanceConfig, keypoints: int, rasteriser: Backend) -> None:
        super().__init__()
        self.config, self.rasteriser = config, rasteriser
        self.register_buffer("faces", torch.zeros(config.faces, 3, dtype=torch.long))
        self.register_buffer("corner_uv", torch.zeros(config.faces, 3, 2))
        self.register_buffer("vertex_mean", torch.zeros(config.vertices, 3))
        self.register_buffer("texture_mean", torch.zeros(3, config.texture, config.texture))
        self.register_buffer("keypoint_vertices", torch.zeros(keypoints, dtype=torch.long))
        for name in ("vertex_std", "texture_std", "keypoint_std"):
            self.register_buffer(name, torch.ones(()))

    def set_subject(self, subject: Subject) -> None:
        """Takes the subject's topology and statistics.

        Raises:
            UserError: If the subject's sizes are not those of the model.
        """
        wanted = {
            "vertices": (len(subject.vertex_mean), self.config.vertices),
            "faces": (len(subject.faces), self.config.faces),
            "cameras": (len(subject.cameras), self.config.cameras),
            "texture": (subject.texture_mean.shape[-1], self.config.texture),
        }
        for name, (there, here) in wanted.items():
            if there != here:
                raise UserError(
                    f"The data has {name} {there}, the model {here}: set model.init_args.appearance.{name}={there}."
                )
        if there := len(subject.keypoint_vertices):
            if there != (here := len(self.keypoint_vertices)):
                raise UserError(
                    f"The data has {there} keypoints, the model {here}: set model.init_args.keypoints.number={there}."
                )
            self.keypoint_vertices.copy_(subject.keypoint_vertices)
        for name in ("faces", "corner_uv", "vertex_mean", "texture_mean"):
            getattr(self, name).copy_(getattr(subject, name))
        for name in ("vertex_std", "texture_std", "keypoint_std"):
            getattr(self, name).fill_(getattr(subject, name))

    def vertices(self, metres: Tensor) -> Tensor:
        """Standardises vertices ``B V 3``."""
        return (metres - self.vertex_mean) / self.vertex_std

    def metres(self, vertices: Tensor) -> Tensor:
        """Standardised vertices ``B V 3`` in metres."""
        return self.vertex_mean + self.vertex_std * vertices

    def keypoints(self, vertices: Tensor) -> Tensor:
        """Those of the standardised vertices ``B V 3`` that are keypoints, ``B K 3`` metres."""
        return self.metres(vertices)[:, self.keypoint_vertices]

    def texture(self, image: Tensor) -> Tensor:
        """Standardises textures ``B 3 T T`` in [0, 1]; exactly black texels are unseen, and become 0 (Multiface)."""
        return (image - self.texture_mean) / self.texture_std * (image != 0)

    def draw(self, vertices: Tensor, textures: Tensor, cameras: Cameras) -> Tensor:
        """Draws standardised vertices ``B V 3`` with textures ``B N 3 T T`` from cameras ``B N``.

        Returns:
            ``B N 3 H W``, around [0, 1] but not clamped; 0 where there is nothing.
        """
        count = cameras.K.shape[1]
        points = self.metres(vertices).repeat_interleave(count, 0)
        colours = self.texture_mean + self.texture_std * textures.flatten(0, 1)
        pose = cameras.K.flatten(0, 1), cameras.rotation.flatten(0, 1), cameras.translation.flatten(0, 1)
        with torch.autocast(points.device.type, enabled=False):
            drawn, _ = mesh.draw(
                _full(points), _full(colours), self.faces, self.corner_uv, *pose, cameras.size, self.rasteriser
            )
        return drawn.unflatten(0, (-1, count))


def _full(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
