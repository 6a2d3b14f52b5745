"""Where a face is in a picture: the square that a method is shown, and the way back into the photograph."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import pad, resize

from datamodules.video.samples import to_float
from models.errors import UserError

# How the portrait world frames a head, in shares of the picture's side (medians of frontal stills): how large the 68
# points are, and how far below the middle of the picture their own lies.
POINTS, BELOW = 0.46, 0.04
FEATHER = 0.08  # of the side: how far from the square's edge the photograph shows through
LARGEST = 3  # times the picture's larger side; that of a face which fills the picture is a little over 2 times
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """A square in a picture, which it may leave.

    Args:
        left: Of the first column, pixels.
        top: Of the first row.
        side: Columns and rows, at least 1.
    """

    left: int
    top: int
    side: int

    @staticmethod
    def centred(height: int, width: int) -> "Square":
        """The largest square in the middle of a picture."""
        side = min(height, width)
        return Square((width - side) // 2, (height - side) // 2, side)

    @staticmethod
    def around(points: Points) -> "Square":
        """The square in which landmarks ``... 68 2`` of a head, or of one that moves, lie as in the world."""
        flat = points.reshape(-1, 2)
        low, high = flat.min(0), flat.max(0)
        side = float((high - low).max() / POINTS)
        middle = (low + high) / 2 - [0, BELOW * side]
        left, top = np.round(middle + 0.5 - side / 2).astype(int).tolist()
        return Square(left, top, max(round(side), 1))

    def check(self, picture: Tensor, name: str) -> None:
        """Refuses a square that nothing can be cut from, or that is too large to be made.

        Args:
            picture: ``3 H W``.
            name: What the message calls it.

        Raises:
            UserError: If the square holds nothing of the picture, or is much larger.
        """
        height, width = picture.shape[-2:]
        inside = -self.side < self.left < width and -self.side < self.top < height
        if self.side < 1 or not inside:
            wrong = "holds nothing of"
        elif self.side > LARGEST * max(height, width):
            wrong = f"is more than {LARGEST} times as large as"
        else:
            return
        raise UserError(
            f"The square {[self.left, self.top, self.side]} {wrong} '{name}' of {width} x {height}: "
            "give the left, top and side of a part of it."
        )

    def cut(self, picture: Tensor, size: int) -> Tensor:
        """The square of a picture ``3 H W``, uint8, as ``1 3 size size`` in [0, 1]; beyond an edge it goes on."""
        height, width = picture.shape[-2:]
        right, below = self.left + self.side - width, self.top + self.side - height
        padded = pad(
            picture, [max(-self.left, 0), max(-self.top, 0), max(right, 0), max(below, 0)], padding_mode="edge"
        )
        top, left = max(self.top, 0), max(self.left, 0)
        square = padded[:, top : top + self.side, left : left + self.side]
        return to_float(resize(square, [size, size], antialias=True))[None]

    def paste(self, frames: Tensor, picture: Tensor) -> Tensor:
        """Frames ``T 3 S S`` in [0, 1] in place of the square of a picture ``3 H W``, uint8: ``T 3 H W``, uint8."""
        height, width = picture.shape[-2:]
        rows, columns = _kept(self.top, self.side, height), _kept(self.left, self.side, width)
        own = resize(frames, [self.side, self.side], antialias=True)[
            ..., _moved(rows, -self.top), _moved(columns, -self.left)
        ]
        share = self._ramp(rows, self.top, height)[:, None] * self._ramp(columns, self.left, width)
        under = to_float(picture[:, rows, columns])
        result = picture.expand(len(frames), -1, -1, -1).clone()
        result[..., rows, columns] = (torch.lerp(under, own.clamp(0, 1), share) * 255).round().byte()
        return result

    def _ramp(self, kept: slice, start: int, length: int) -> Tensor:
        """How much of the result shows at each kept pixel of a side; all of it where the photograph ends."""
        place = torch.arange(kept.start, kept.stop) - start + 0.5
        width = max(FEATHER * self.side, 1.0)
        before = place / width if start > 0 else torch.ones(len(place))
        after = (self.side - place) / width if start + self.side < length else torch.ones(len(place))
        share = torch.minimum(before, after).clamp(0, 1)
        return share * share * (3 - 2 * share)


def _kept(start: int, side: int, length: int) -> slice:
    return slice(max(start, 0), min(start + side, length))


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
