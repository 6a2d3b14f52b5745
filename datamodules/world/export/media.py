"""The writers of pictures and videos: exact, whole or not at all."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.errors import UserError
from models.files import aside, write_bytes

Pixels = NDArray[np.uint8]


def to_pixels(images: Tensor) -> Pixels:
    """Pictures ``... 3 H W`` in [0, 1] as 8-bit ``... H W 3``."""
    return (images.clamp(0, 1) * 255).round().byte().movedim(-3, -1).numpy()


def write_picture(path: Path, pixels: Pixels, quality: int = 95) -> None:
    """Writes one picture ``H W 3`` (or a grey one ``H W``) as PNG, or as JPEG of that quality, by the path's suffix."""
    options: dict[str, Any] = {"quality": quality} if path.suffix == ".jpg" else {"compress_level": 4}
    whole = BytesIO()  # a JPEG that is written into a file of its own may be cut without a word
    Image.fromarray(pixels).save(whole, Image.registered_extensions()[path.suffix.lower()], **options)
    write_bytes(path, whole.getvalue())


def write_folder(path: Path, frames: Pixels, pattern: str) -> None:
    """Writes frames ``T H W 3`` as a folder of pictures, named by their number: ``{:07d}.png``."""
    with aside(path) as partial:
        partial.mkdir()
        for number, pixels in enumerate(frames):
            write_picture(partial / pattern.format(number), pixels)


def write_video(path: Path, frames: Pixels, fps: float, comment: str = "", every: int = 2) -> None:
    """Writes frames ``T H W 3`` as H.264, by default with a key frame every other frame, so that any can be sought.

    Args:
        path: The file.
        frames: Of even sides.
        fps: Frames a second.
        comment: What its metadata say; empty for nothing.
        every: Frames from one key frame to the next; more make a smaller file.

    Raises:
        UserError: If the side is odd, which the codec's colour format cannot hold.
    """
    height, width = frames.shape[1:3]
    check_video(height, width)
    with aside(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=frame_rate(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {
            "crf": "18",
            "g": str(every),
            "threads": "1",
        }  # the bytes must not depend on the machine's load
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def frame_rate(fps: float) -> Fraction:
    """The exact rate that a decimal stands for: 29.97 is 30000/1001, as 23.976 and 59.94 are of their kind."""
    near = round(fps)
    if fps != near and abs(fps - near * 1000 / 1001) < 0.005:
        return Fraction(near * 1000, 1001)
    return Fraction(fps).limit_denominator(1001)


def check_video(height: int, width: int) -> None:
    """Refuses frames that `write_video` cannot hold.

    Raises:
        UserError: If a side is odd.
    """
    if height % 2 or width % 2:
        raise UserError(f"mp4 needs an even image size, not {width} x {height}: change it, or store frames.")
