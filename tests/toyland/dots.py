"""A data module of somebody else's: pictures of white dots, made before the first run."""

import numpy as np
import torch
from torch.utils.data import Dataset
from toyland.counting import Dots

from datamodules.base import PortraitDataModule, TestProtocol

SIZE, VIDEOS, FRAMES = 16, 8, 2


class Training(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, number):
        image, dots = drawn(number)
        return {"image": image, "number": dots}


class Testing(Dataset):
    def __init__(self, task):
        self.task = task

    def __len__(self):
        return VIDEOS

    def __getitem__(self, index):
        if not 0 <= index < VIDEOS:
            raise IndexError(index)
        images, numbers = zip(*(drawn(1000 + index * FRAMES + frame) for frame in range(FRAMES)), strict=True)
        names = [f"v{index}/{frame:07d}" for frame in range(FRAMES)]
        named = {"task": self.task, "sample_id": names, "video_id": [f"v{index}"] * FRAMES, "frame": [0, 1]}
        return Dots(**named, image=torch.stack(images), number=torch.stack(numbers))


def drawn(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    image = torch.zeros(3, SIZE * SIZE)
    image[:, rng.choice(SIZE * SIZE, count, replace=False)] = 1
    return image.view(3, SIZE, SIZE), torch.tensor(float(count))


class DotData(PortraitDataModule):
    """Dots.

    Args:
        image_size: Side of the pictures in pixels.
        root: Where they are made.
        batch_size: Samples a batch.
        num_workers: Loader processes.
        test: What a test asks.
        seed: Fixes what is drawn.
    """

    def __init__(
        self,
        image_size: int,
        root: str,
        batch_size: int = 2,
        num_workers: int = 0,
        test: TestProtocol = TestProtocol("toyland.counting"),  # noqa: B008 - frozen
        seed: int = 0,
    ):
        super().__init__(image_size, batch_size, num_workers, seed, test)
        self.root = root

    def setup(self, stage):
        self.train_set, self.test_set = Training(), Testing(self.test.task)
