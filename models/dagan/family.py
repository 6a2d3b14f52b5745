"""What the systems of DaGAN's tables share beside their blocks: updates, a fixed discriminator, optimisers, clips."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from models.base import PortraitModule, check_finite
from models.dagan.optimisation import DaGANOptimiserConfig
from models.errors import UserError
from models.tasks import Batch, Context

FRAMES_AT_ONCE = 8  # a bound on memory; results do not depend on it
PIXELS_AT_ONCE = 256**2  # a bound on what is computed at full size on a CPU, whose caches a picture more would leave


def update(module: PortraitModule, optimiser: Any, loss: Tensor, **options: Any) -> None:  # noqa: ANN401 - Lightning's
    """Moves the parameters of one optimiser down a loss.

    Args:
        module: The model.
        optimiser: Lightning's wrapper of it.
        loss: The loss.
        **options: Of the backward pass, such as the ``inputs`` whose gradients it is for.

    Raises:
        UserError: If the loss is not finite.
    """
    check_finite(loss)
    optimiser.zero_grad()
    module.manual_backward(loss, **options)
    optimiser.step()


def end_step(module: PortraitModule, parts: dict[str, Tensor]) -> None:
    """Steps the schedules of all optimisers and logs the parts of the losses."""
    for scheduler in module.lr_schedulers():  # type: ignore[union-attr]
        scheduler.step()
    module.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, prog_bar=True)


def fixed(network: nn.Module, x: Tensor) -> Any:  # noqa: ANN401 - whatever the network returns
    """What a network says of ``x``, with a gradient for ``x`` and none for the network."""
    network.requires_grad_(False)
    output = network(x)
    network.requires_grad_(True)
    return output


def build_optimisers(
    module: PortraitModule, config: DaGANOptimiserConfig, *parts: Iterable[nn.Parameter]
) -> tuple[list[Any], list[Any]]:
    """An optimiser for each of the parts, and a schedule that is stepped after every batch."""
    pairs = [config.build_for(module.trainer, part) for part in parts]
    return [optimiser for optimiser, _ in pairs], [schedule for _, schedule in pairs]


def log_rebuilt(module: Any, batch: Batch) -> None:  # noqa: ANN401 - a PortraitModule that reenacts
    """Logs the L1 of driving frames rebuilt from another frame of the same clip."""
    fake = module.reenact(batch["source"], batch["driving"][:, None], Context())[:, 0]
    error = (fake - batch["driving"]).abs().mean()
    module.log("val/L1", error, prog_bar=True, sync_dist=True, batch_size=len(fake))


def zero_conv(in_features: int, out_features: int, kernel_size: int) -> nn.Conv2d:
    """A convolution that keeps the size and starts as zero: the head of a motion that starts as rest."""
    conv = nn.Conv2d(in_features, out_features, kernel_size, padding=kernel_size // 2)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def initial_frame(context: Context) -> Tensor | None:
    """The driving frame that relative motion starts from, ``B 3 H W``; None for absolute motion.

    Raises:
        UserError: If relative motion is asked for without it.
    """
    if context.motion == "relative" and context.initial is None:
        raise UserError("Relative motion needs the initial driving frame; give it, or use absolute motion.")
    return context.initial if context.motion == "relative" else None


def at_once(images: Tensor) -> int:
    """How many of the images ``B C H W`` to compute at full size at once: few on a CPU, elsewhere all."""
    return max(1, PIXELS_AT_ONCE // images[0, 0].numel()) if images.device.type == "cpu" else len(images)


def drawn(frames: Callable[[Tensor, int], Tensor], driving: Tensor) -> Tensor:
    """Draws a clip ``B T 3 H W`` a few frames at once, which bounds memory and changes nothing.

    Args:
        frames: Maps driving frames ``(B t) 3 H W``, and t, to pictures ``(B t) 3 H W``.
        driving: The driving frames.
    """
    parts = driving.split(FRAMES_AT_ONCE, 1)
    return torch.cat([frames(part.flatten(0, 1), part.shape[1]).unflatten(0, part.shape[:2]) for part in parts], 1)
