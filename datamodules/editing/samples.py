"""Training samples of edit pairs, each a function of the seed and its number alone."""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from datamodules.base import DataError
from datamodules.editing.folders import SOURCE, TARGET, PairFolder

EditSample = Literal["pairs", "pictures", "canvases"]
CANVAS_PROMPT = "the same person on the left and on the right"  # P figure 3, there of a woman


class EditSamples(Dataset[dict[str, Any]]):
    """Pairs, single pictures with their words, or canvases, in a drawn order.

    Args:
        folder: The pairs.
        kind: ``pairs``: ``source``, ``target``, ``source_prompt``, ``target_prompt``, ``name``; ``pictures``: a source
            or a target as ``image``, and its ``prompt``; ``canvases``: ``image`` 3 H 2W and the prompt of both halves.
        canvases: Share of the batches of pictures that are canvases, in [0, 1].
        size: Samples an epoch.
        batch: Samples that are of one kind: a batch of all processes together.
        seed: Fixes the order.

    Raises:
        DataError: If a share does not fit the kind, there are no canvases for it, or an epoch is no whole number of
            batches.
    """

    def __init__(self, folder: PairFolder, kind: EditSample, canvases: float, size: int, batch: int, seed: int) -> None:
        self.folder, self.kind, self.share = folder, kind, 1.0 if kind == "canvases" else canvases
        self.size, self.batch, self.seed = size, batch, seed
        if not 0 <= canvases <= 1 or (canvases and kind == "pairs"):
            raise DataError(f"data.init_args.canvases is {canvases}: give a share from 0 to 1, and 0 with pairs.")
        if self.share and not folder.canvases:
            raise DataError(f"'{folder.path}' holds no canvas; add the folder canvas, or set canvases to 0.")
        if 0 < self.share < 1 and size % batch:
            counted = f"{size} samples are no whole number of batches of {batch}, each of which is of one kind"
            raise DataError(f"{counted}; change data.init_args.samples_per_epoch.")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self.kind == "pairs":
            return self._pair(self._place(number, len(self.folder)))
        if self._is_canvas(number):
            names = self.folder.canvases
            return {"image": self.folder.canvas(names[self._place(number, len(names))]), "prompt": CANVAS_PROMPT}
        return self._picture(*divmod(self._place(number, 2 * len(self.folder)), 2))

    def _pair(self, place: int) -> dict[str, Any]:
        pair = self.folder.pairs[place]
        source, target = self.folder.aligned(pair.name)
        words = {"source_prompt": pair.source_prompt, "target_prompt": pair.target_prompt}
        return {"source": source, "target": target, **words, "name": pair.name}

    def _picture(self, place: int, is_target: int) -> dict[str, Any]:
        pair = self.folder.pairs[place]
        image = self.folder.picture(TARGET if is_target else SOURCE, pair.name)
        return {"image": image, "prompt": pair.target_prompt if is_target else pair.source_prompt}

    def _is_canvas(self, number: int) -> bool:
        if self.share in (0, 1):
            return bool(self.share)
        return bool(np.random.default_rng([self.seed, number // self.batch]).random() < self.share)

    def _place(self, number: int, count: int) -> int:
        lap, at = divmod(number, count)
        return int(_order(count, self.seed, lap)[at])


@lru_cache(maxsize=8)
def _order(count: int, seed: int, lap: int) -> np.ndarray:
    return np.random.default_rng([seed, lap, count]).permutation(count)
