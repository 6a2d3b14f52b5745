"""A strip of pictures of each video of a test, of which a table shows the median and the worst of every row."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.evaluation import figures
from models.files import aside
from models.tasks import TaskBatch, find

FOLDER = "strips"
SIDE = 96  # pixels of a strip's height, at most
QUALITY = 90


def strips(outputs: object, batch: TaskBatch) -> dict[str, Tensor]:
    """What the task's lines show of the middle frame of each video of a batch, side by side: ``3 h w`` in [0, 1].

    What stands before the frames, as the source does in reenactment, stands before them here.
    """
    videos = list(dict.fromkeys(batch.video_id))
    columns = len(batch.video_id) if len(videos) > 1 else 3  # of one video three will do, with the middle one in it
    lines = find(batch.task, "benchmarks").lines(outputs, batch, columns)
    places = {video: [i for i, name in enumerate(batch.video_id) if name == video] for video in videos}
    chosen = {video: own[len(own) // 2] if len(videos) > 1 else 1 for video, own in places.items()}
    before = len(lines[0]) - columns
    tiles = {video: [*lines[0][:before], *(line[before + place] for line in lines)] for video, place in chosen.items()}
    return {video: torch.cat([tile.detach().float().cpu() for tile in own], 2) for video, own in tiles.items()}


def save(outputs: object, batch: TaskBatch, folder: Path, method: str) -> None:
    """Leaves the strip of each video of a batch, a JPEG that is marked as generated."""
    for video, strip in strips(outputs, batch).items():
        picture = figures.to_image(strip)
        if picture.height > SIDE:
            picture = picture.resize((round(picture.width * SIDE / picture.height), SIDE), Image.Resampling.BOX)
        with aside(file(folder, video)) as partial:
            picture.save(partial, "JPEG", quality=QUALITY, comment=figures.mark(method))


def file(folder: Path, video: str) -> Path:
    """The strip of a video in a run's folder."""
    return folder / FOLDER / f"{video}.jpg"
