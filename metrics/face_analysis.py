"""What is seen of the faces in a picture, looked at once for all metrics, and which face is compared with which."""

import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha1
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from metrics.base import Status
from metrics.pictures import check_rgb
from models.errors import UserError
from models.pixels import to_uint8
from models.reading import reading


@dataclass(frozen=True)
class Face:
    """One face; what an analyser cannot tell is None.

    Args:
        box: ``4``: left, top, right, bottom in pixels.
        landmarks: ``68 2`` pixels in the order of the field.
        rotation: ``3 3`` of the head in the camera.
        expression: ``K`` coefficients.
        actions: ``K`` bool; the action units or blendshapes that are on.
        embedding: ``D``; who it is.
        features: ``D``; what a distance between sets of pictures compares.
        confidence: In [0, 1].
    """

    box: Tensor
    landmarks: Tensor | None = None
    rotation: Tensor | None = None
    expression: Tensor | None = None
    actions: Tensor | None = None
    embedding: Tensor | None = None
    features: Tensor | None = None
    confidence: float = 1.0

    def is_finite(self) -> bool:
        """Whether no number of it is nan or inf."""
        values = (getattr(self, field.name) for field in fields(self))
        return all(torch.isfinite(torch.as_tensor(value)).all() for value in values if value is not None)


class FaceAnalyser(Protocol):
    """Finds the faces in pictures.

    ``key`` names the backbone; ``proxy`` says that its numbers have names of their own; faces below ``min_confidence``
    do not count.
    """

    key: str
    proxy: bool
    min_confidence: float

    def __call__(self, pictures: Tensor) -> list[list[Face]]:
        """The faces of each of the pictures ``B 3 H W`` in [0, 1]."""


def pictures_sha1(pictures: Tensor) -> list[str]:
    """The SHA-1 of each picture ``B 3 H W`` in [0, 1] as 8-bit pixels, and of its shape.

    Raises:
        ValueError: If a shape, type or range is wrong.
    """
    check_rgb("A batch of pictures", pictures)
    pixels = to_uint8(pictures).cpu().contiguous().numpy()
    shape = repr(pixels.shape[1:]).encode()
    return [sha1(shape + picture.tobytes()).hexdigest() for picture in pixels]


class FaceAnalysisCache:
    """Looks at each picture once with each analyser; the metrics of one evaluation share it.

    Args:
        size: How many analyses are kept, the last used ones.
    """

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self.hits = self.misses = 0
        self._kept: OrderedDict[tuple[str, str], list[Face] | None] = OrderedDict()

    def analyse(self, analyser: FaceAnalyser, pictures: Tensor) -> list[list[Face] | None]:
        """The faces of each picture ``B 3 H W`` in [0, 1] as it would be saved; None where the analyser failed.

        Raises:
            ValueError: If a shape, type or range is wrong.
            UserError: If the analyser lacks a file or package.
        """
        keys = self._keys(analyser, pictures)
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._kept}
        self.hits, self.misses = self.hits + len(keys) - len(new), self.misses + len(new)
        analyses = {key: self._kept[key] for key in keys if key in self._kept}
        if new:
            analyses |= dict(zip(new, _look(analyser, torch.stack(list(new.values()))), strict=True))
        self._keep(analyses)
        return [analyses[key] for key in keys]

    def recall(self, analyser: FaceAnalyser, pictures: Tensor, file: Path) -> None:
        """Looks at pictures that other processes look at too: what is seen is kept in a file, and read from there.

        Raises:
            ValueError: As `analyse`.
            UserError: As `analyse`, or if the file is damaged.
        """
        if file.exists():
            keys = self._keys(analyser, pictures)
            with reading(file, "record of the faces that were seen", "delete it, and it is made again."):
                self._keep(dict(zip(keys, _read(file), strict=True)))
        else:
            _write(self.analyse(analyser, pictures), file)

    def _keys(self, analyser: FaceAnalyser, pictures: Tensor) -> list[tuple[str, str]]:
        return [(digest, analyser.key) for digest in pictures_sha1(pictures)]

    def _keep(self, analyses: Mapping[tuple[str, str], list[Face] | None]) -> None:
        for key, faces in analyses.items():
            self._kept[key] = faces
            self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)


def _write(analyses: list[list[Face] | None], file: Path) -> None:
    """Writes analyses aside, then renames: another process may write the same."""
    faces = [face for analysis in analyses for face in analysis or []]
    parts = {field.name: [getattr(face, field.name) for face in faces] for field in fields(Face)}
    known = {name: values for name, values in parts.items() if values and values[0] is not None}
    stacked = {name: torch.stack([torch.as_tensor(value).cpu() for value in values]) for name, values in known.items()}
    stacked["count"] = torch.tensor([-1 if analysis is None else len(analysis) for analysis in analyses])
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}.part")
    try:
        aside.write_bytes(save(stacked))  # `save_file` does not say that a disk is full
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _read(file: Path) -> list[list[Face] | None]:
    stacked = load_file(file)
    counts = stacked.pop("count").tolist()
    rows = (dict(zip(stacked, row, strict=True)) for row in zip(*stacked.values(), strict=True))
    stored = [Face(**row | {"confidence": row["confidence"].item()}) for row in rows]
    if sum(count for count in counts if count > 0) != len(stored):
        raise ValueError("its counts are not those of its faces")
    faces = iter(stored)
    return [None if count < 0 else [next(faces) for _ in range(count)] for count in counts]


def _look(analyser: FaceAnalyser, pictures: Tensor) -> list[list[Face] | None]:
    """The faces of each picture; where the whole batch fails, each is tried alone, and those that fail are None."""
    pictures = to_uint8(pictures).to(pictures.dtype).div(255)
    try:
        analyses: list[list[Face] | None] = [*analyser(pictures)]
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a library's own: many kinds
        if len(pictures) > 1:
            return [_look(analyser, picture[None])[0] for picture in pictures]
        warnings.warn(f"{analyser.key} failed on a picture: {type(error).__name__}: {error}", stacklevel=2)
        return [None]
    return [None if faces is None or not all(face.is_finite() for face in faces) else faces for faces in analyses]


def paired(
    truth: list[Face] | None, generated: list[Face] | None, min_confidence: float = 0.0
) -> tuple[Face | None, Face | None, Status]:
    """The largest face of the truth, the generated one that lies most over it, and what is to be known of the two.

    Where the truth's is None the sample counts for no method; where only the generated one is, the method missed it.

    Args:
        truth: Its faces; None if the analyser failed.
        generated: As ``truth``.
        min_confidence: Faces below it do not count; in [0, 1].

    Raises:
        ValueError: If that is no confidence.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"The least confidence of a face is {min_confidence}; pass one in [0, 1].")
    goal, why = _usable(truth, min_confidence)
    candidates, miss = _usable(generated, min_confidence)
    if not goal:
        neither = why == miss == Status.NO_FACE_IN_GENERATED
        absent = Status.NO_FACE_IN_EITHER if neither else Status.NO_FACE_IN_TRUTH
        return None, None, absent if why == Status.NO_FACE_IN_GENERATED else why
    largest = goal[0] if len(goal) == 1 else max(goal, key=lambda face: area(face.box))
    if len(candidates) < 2:
        several = Status.SEVERAL_FACES if len(goal) > 1 else Status.OK
        return largest, *((candidates[0], several) if candidates else (None, miss))
    nearest = max(candidates, key=lambda face: (iou(face.box, largest.box), area(face.box)))
    return largest, nearest, Status.SEVERAL_FACES


def _usable(faces: list[Face] | None, min_confidence: float) -> tuple[list[Face], Status]:
    """The faces that count, and why there is none."""
    if faces is None:
        return [], Status.FAILED
    sure = [face for face in faces if face.confidence >= min_confidence]
    return sure, Status.LOW_CONFIDENCE if faces else Status.NO_FACE_IN_GENERATED


def area(box: Tensor) -> float:
    """Pixels inside a box (left, top, right, bottom).

    Raises:
        ValueError: If it is not four numbers.
    """
    if box.shape != (4,):
        raise ValueError(f"The box is {tuple(box.shape)}; pass left, top, right, bottom.")
    width, height = (box[2:] - box[:2]).clamp(min=0).tolist()
    return width * height


def iou(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two boxes; 0 if both are empty. Errors are those of `area`."""
    both = area(one) + area(other)
    common = area(torch.cat([torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])]))
    union = both - common
    return common / union if union else 0.0
