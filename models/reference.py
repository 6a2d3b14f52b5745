"""Reference rows: methods that a working system must beat, and the ceilings that none can pass (design, section 6)."""

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from kornia.filters import gaussian_blur2d, spatial_gradient
from kornia.morphology import erosion
from PIL import Image
from torch import Tensor

from models.base import PortraitModule, summed
from models.errors import UserError
from models.pixels import to_uint8
from models.tasks import Batch, Context
from models.tasks.depth import DepthEstimate
from models.tasks.editing import Edited


class CopySource(PortraitModule):
    """Answers every driving frame with the source image itself, and every depth with the reference."""

    needs_fit: ClassVar[bool] = False

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Repeats the source ``B 3 H W`` over the ``T`` driving frames."""
        return source[:, None].expand_as(driving)

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """The reference: another true picture of the person."""
        return reference

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The input, nowhere edited; whoever loves likeness alone scores it best."""
        return Edited(image, None)


class BlurredCopy(PortraitModule):
    """The source, blurred as it scores best: the strength that a metric's love of smoothness alone can reach.

    The fit passes once over the training pairs, or over references with their targets, and keeps the blur of the
    lowest mean L1.

    Args:
        image_size: Side of the images in pixels.
        sigmas: Standard deviations to choose from, as fractions of ``image_size``.
    """

    errors: Tensor

    def __init__(self, image_size: int, sigmas: list[float]) -> None:
        super().__init__(image_size)
        self.automatic_optimization = False
        self.sigmas = sigmas
        self.register_buffer("errors", torch.zeros(len(sigmas), dtype=torch.float64))

    def configure_optimizers(self) -> None:
        """Nothing is optimised by gradient."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds each blur's L1 error on the batch's pairs."""
        source, target = sources_of(batch), targets_of(batch)
        blurred = [self._blur(source, sigma) for sigma in self.sigmas]
        errors = [(image - target).abs().mean((1, 2, 3)).double().sum() for image in blurred]
        self.errors += summed(torch.stack(errors))
        self.log("best_sigma", self.sigmas[int(self.errors.argmin())], prog_bar=True)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Repeats the blurred source over the driving frames."""
        return self._blur(source, self.sigmas[int(self.errors.argmin())])[:, None].expand_as(driving)

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """The blurred reference."""
        return self._blur(reference, self.sigmas[int(self.errors.argmin())])

    def _blur(self, image: Tensor, fraction: float) -> Tensor:
        sigma = fraction * self.image_size
        if sigma == 0:
            return image
        size = 2 * round(3 * sigma) + 1
        return gaussian_blur2d(image, (size, size), (sigma, sigma), "reflect")


class TrainMean(PortraitModule):
    """The mean image of the training set, or of single frames with their depth the mean depth map."""

    total: Tensor
    count: Tensor

    def __init__(self, image_size: int) -> None:
        super().__init__(image_size)
        self.automatic_optimization = False
        self.register_buffer("total", torch.zeros(3, image_size, image_size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(1, image_size, image_size, dtype=torch.float64))

    def configure_optimizers(self) -> None:
        """Nothing is optimised by gradient."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds up driving, edited or target images, or of single frames the depth of masked pixels."""
        if "depth" in batch and "reference" not in batch:
            self.add_depth(batch)
        else:
            target = targets_of(batch)
            self.total += summed(target.double().sum(0))
            self.count += summed(torch.full_like(self.count, len(target)))

    def add_depth(self, batch: Batch) -> None:
        """Adds up the depth of masked pixels, of one frame a sample or of several."""
        mask = batch["mask"].flatten(0, -4)
        self.total += summed((batch["depth"].flatten(0, -4) * mask).double().sum(0))
        self.count += summed(mask.double().sum(0))

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Repeats the mean training image over the driving frames."""
        return (self.total / self.count).to(driving).expand_as(driving)

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """The mean training image."""
        return (self.total / self.count).to(reference).expand_as(reference)

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The mean training target, whatever is asked."""
        return Edited((self.total / self.count).to(image).expand_as(image), None)

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """The mean training depth in metres; where no face was ever seen, the mean over the whole image."""
        overall = self.total[:1].sum() / self.count.sum()
        mean = torch.where(self.count > 0, self.total[:1] / self.count.clamp(min=1), overall)
        return DepthEstimate(mean.to(image).expand(len(image), 1, -1, -1), "depth")


class MeanDepth(TrainMean):
    """The mean depth map of the training set, whatever else its samples hold."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds up the depth of masked pixels."""
        self.add_depth(batch)


class NextFrame(PortraitModule):
    """Real against real: answers each frame with the frame that follows it in the same video."""

    needs_fit: ClassVar[bool] = False
    is_oracle: ClassVar[bool] = True

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """The true frames one step late; the last is answered with the one before it."""
        assert context.truth is not None
        truth = context.truth
        return torch.cat([truth[:, 1:], truth[:, -2:-1]], 1) if truth.shape[1] > 1 else truth


class Oracle(PortraitModule):
    """The truth through a codec: what a perfect method would score.

    Images pass through JPEG at the training clips' own quality, depth through 16-bit millimetres.

    Args:
        image_size: Side of the images in pixels.
        jpeg_quality: Quality of the codec, 1 to 95.
    """

    needs_fit: ClassVar[bool] = False
    is_oracle: ClassVar[bool] = True

    def __init__(self, image_size: int, jpeg_quality: int) -> None:
        super().__init__(image_size)
        self.jpeg_quality = jpeg_quality

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """The true frames, encoded and decoded."""
        assert context.truth is not None
        frames = [self._through_jpeg(frame) for frame in context.truth.flatten(0, 1)]
        return torch.stack(frames).view_as(driving).to(driving)

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """The true pictures, encoded and decoded."""
        assert context.truth is not None
        return torch.stack([self._through_jpeg(picture) for picture in context.truth]).to(reference)

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """The perfect edits, encoded and decoded, and the exact masks."""
        assert context.truth is not None
        pictures = torch.stack([self._through_jpeg(picture) for picture in context.truth])
        return Edited(pictures.to(image), context.conditions["exact_mask"])

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """The true depth, rounded to a millimetre as depth maps are stored."""
        assert context.truth is not None
        return DepthEstimate((context.truth * 1000).round() / 1000, "depth")

    def _through_jpeg(self, image: Tensor) -> Tensor:
        pixels = to_uint8(image).permute(1, 2, 0).cpu().numpy()
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=self.jpeg_quality)
        return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1) / 255


class ShadedDepth(PortraitModule):
    """Shading alone: the depth under a frontal light, in the mean colour that the reference has at its place.

    The rest of the reference stays. No camera is known, so the depth is brought to pixels by a stated relief.

    Args:
        image_size: Side of the images in pixels.
        ambient: Share of the light that comes from everywhere, in [0, 1].
        relief: From the nearest to the farthest point of a face, as a share of its width.
    """

    needs_fit: ClassVar[bool] = False

    def __init__(self, image_size: int, ambient: float, relief: float) -> None:
        super().__init__(image_size)
        self.ambient, self.relief = ambient, relief

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """The reference with a Lambertian surface of its mean colour over the skin."""
        skin = depth > 0
        area = skin.sum((2, 3), keepdim=True).clamp(min=1)
        colour = (reference * skin).sum((2, 3), keepdim=True) / area
        light = self._light(depth, skin)
        mean = (light * skin).sum((2, 3), keepdim=True) / area
        return torch.where(skin, colour * light / mean, reference).clamp(0, 1)

    def _light(self, depth: Tensor, skin: Tensor) -> Tensor:
        """Lambert's law with the viewer's own direction; flat where a neighbour has no depth."""
        near = depth.masked_fill(~skin, torch.inf).amin((2, 3), keepdim=True)
        far = depth.masked_fill(~skin, 0).amax((2, 3), keepdim=True)
        width = skin.any(2, keepdim=True).sum(3, keepdim=True)
        pixels = depth * self.relief * width / (far - near).clamp(min=1e-6)
        slopes = spatial_gradient(pixels, "diff")[:, 0]
        inner = erosion(skin.to(depth), torch.ones(3, 3).to(depth)) > 0
        squared = torch.where(inner, slopes.square().sum(1, keepdim=True), 0)
        return self.ambient + (1 - self.ambient) / (1 + squared).sqrt()


class ConstantDepth(PortraitModule):
    """A flat plane: what no geometry at all scores."""

    needs_fit: ClassVar[bool] = False

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """One depth everywhere."""
        return DepthEstimate(torch.ones_like(image[:, :1]), "depth")


class FittedDepth(PortraitModule):
    """The depth of a face model that was fitted to the landmarks, which a test's ``condition`` gives."""

    needs_fit: ClassVar[bool] = False

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """The fit's depth ``B 1 H W``.

        Raises:
            UserError: If the test does not give it.
        """
        if "fitted_depth" not in context.conditions:
            raise UserError("FittedDepth answers with what it is given: set test.condition to fitted_depth.")
        return DepthEstimate(context.conditions["fitted_depth"], "depth")


class LuminanceDepth(PortraitModule):
    """Brighter is nearer: the shading cue alone."""

    needs_fit: ClassVar[bool] = False

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Luma (ITU-R BT.601) read as closeness."""
        weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return DepthEstimate((image * weights).sum(1, keepdim=True), "closeness")


def sources_of(batch: Batch) -> Tensor:
    """Pictures ``N 3 H W`` of whom the targets of a training batch show; a reference is repeated for each target."""
    if "reference" not in batch:
        return batch["source"]
    return batch["reference"][:, None].expand_as(batch["image"]).flatten(0, 1)


def targets_of(batch: Batch) -> Tensor:
    """Pictures ``N 3 H W`` to be made: driving frames, edited ones, or the ``B T 3 H W`` that belong to references."""
    if "reference" in batch:
        return batch["image"].flatten(0, 1)
    return batch["target"] if "target" in batch else batch["driving"]
