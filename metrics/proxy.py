"""Scores by the suite's own face network, under names of their own: not comparable with any published number."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha1
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from metrics.base import PerSampleMetric
from metrics.image import as_saved
from metrics.procface import KEY, Faces, check_pictures, shipped

MIN_CONFIDENCE = 0.5  # below, a picture counts as one without a face
EYE_CORNERS = (36, 45)
OK, NO_FACE_IN_TRUTH, NO_FACE_IN_GENERATED, NO_FACE_IN_EITHER = range(4)
_DISCLAIMER = f"not comparable with published numbers; {KEY}"
_KEPT = 4096  # pictures whose analysis is remembered, about 2 kB each
_BATCH = 64
_seen: OrderedDict[str, Faces] = OrderedDict()


@torch.no_grad()
def analyse(images: Tensor) -> Faces:
    """What the shipped network sees in pictures ``B 3 H H`` in [0, 1] as they would be saved; each is looked at once.

    Returns:
        The faces on the CPU; the metrics of one evaluation share them.

    Raises:
        ValueError: If a shape, type or range is wrong.
        UserError: If the network's file is absent or damaged.
    """
    check_pictures(images)
    if not len(images):
        return Faces(
            *(part[:0].cpu() for part in shipped(images.device)(images.new_zeros(1, *images.shape[1:]).float()))
        )
    saved = as_saved(images).float()
    keys = [_digest(image) for image in saved]
    new = {key: number for number, key in enumerate(keys) if key not in _seen}
    for piece in torch.tensor(list(new.values()), dtype=torch.long).split(_BATCH):
        faces = Faces(*(part.cpu() for part in shipped(saved.device)(saved[piece])))
        _seen.update({keys[number]: Faces(*(part[i] for part in faces)) for i, number in enumerate(piece.tolist())})
    found = [_seen[key] for key in keys]
    for key in keys:
        _seen.move_to_end(key)
    while len(_seen) > _KEPT:
        _seen.popitem(last=False)
    return Faces(*(torch.stack(parts) for parts in zip(*found, strict=True)))


class ProxyMetric(PerSampleMetric):
    """A comparison of the face in a generated picture with that in the true one.

    A sample whose truth shows no face is nan and counts for no method; a generated picture without one gets the value
    that the protocol declares for a miss, so that no method gains by failing.
    """

    comparable: ClassVar[bool] = False

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Adds pictures ``B 3 H H`` in [0, 1] and the true ones under their identifiers.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        if preds.shape != target.shape:
            shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
            raise ValueError(f"Predictions and targets are {shapes}; pass two RGB batches of one shape, B 3 H H.")
        generated, truth = analyse(preds), analyse(target)
        no_face, no_truth = (faces.confidence < MIN_CONFIDENCE for faces in (generated, truth))
        values = torch.where(no_face, self.penalty(truth), self.compare(generated, truth))
        values = torch.where(no_truth, torch.nan, values)
        self.append(sample_ids, values, no_truth * NO_FACE_IN_TRUTH + no_face * NO_FACE_IN_GENERATED)

    def compare(self, generated: Faces, truth: Faces) -> Tensor:
        """The value ``B`` of every pair, float64."""
        raise NotImplementedError

    def penalty(self, truth: Faces) -> Tensor:
        """The value ``B`` of a generated picture without a face, float64."""
        raise NotImplementedError

    def misses(self) -> dict[str, int]:
        """Samples in all, those whose generated picture shows no face, and those whose truth shows none."""
        status = [status for _, status in self.per_sample().values()]
        without_truth = status.count(NO_FACE_IN_TRUTH) + status.count(NO_FACE_IN_EITHER)
        return {"total": len(status), "missed": status.count(NO_FACE_IN_GENERATED), "no_truth": without_truth}


class ProxyAKD(ProxyMetric):
    """Mean absolute coordinate difference of the landmarks of two faces."""

    name = "proxy-AKD"
    unit = "px"
    higher_is_better = False
    protocol = f"68 landmarks, mean of |dx| and |dy| in pixels of the picture, a miss is 1 inter-ocular; {_DISCLAIMER}"

    def compare(self, generated: Faces, truth: Faces) -> Tensor:
        """Pixels of the given pictures."""
        return (generated.landmarks.double() - truth.landmarks.double()).abs().mean((1, 2))

    def penalty(self, truth: Faces) -> Tensor:
        """The distance of the truth's outer eye corners."""
        right, left = (truth.landmarks[:, corner].double() for corner in EYE_CORNERS)
        return (right - left).norm(dim=1)


class ProxyPose(ProxyMetric):
    """Angle of the turn between the poses of two heads."""

    name = "proxy-pose"
    unit = "°"
    higher_is_better = False
    protocol = f"geodesic angle between head rotations, a miss is 90; {_DISCLAIMER}"
    digits = 2

    def compare(self, generated: Faces, truth: Faces) -> Tensor:
        """Degrees; from the chord, which is exact near 0 where the trace is not."""
        chord = (generated.rotation.double() - truth.rotation.double()).norm(dim=(1, 2))
        return 2 * torch.rad2deg(torch.asin((chord / 8**0.5).clamp(max=1)))

    def penalty(self, truth: Faces) -> Tensor:
        """A right angle."""
        return torch.full((len(truth.rotation),), 90.0, dtype=torch.float64)


class ProxyExpression(ProxyMetric):
    """Mean absolute difference of the expressions of two faces."""

    name = "proxy-expr"
    higher_is_better = False
    protocol = f"mean absolute difference of 25 expression strengths, a miss is 1; {_DISCLAIMER}"
    digits = 4

    def compare(self, generated: Faces, truth: Faces) -> Tensor:
        """Strengths."""
        return (generated.expression.double() - truth.expression.double()).abs().mean(1)

    def penalty(self, truth: Faces) -> Tensor:
        """The greatest strength."""
        return torch.ones(len(truth.expression), dtype=torch.float64)


class ProxyID(ProxyMetric):
    """Cosine of the identities of two faces; as target give the true picture, or the source to be kept."""

    name = "proxy-ID"
    higher_is_better = True
    protocol = f"cosine of the embeddings of the generated and the true picture, a miss is 0; {_DISCLAIMER}"

    def compare(self, generated: Faces, truth: Faces) -> Tensor:
        """Cosines; the embeddings have unit length."""
        return (generated.embedding.double() * truth.embedding.double()).sum(1)

    def penalty(self, truth: Faces) -> Tensor:
        """Unrelated people."""
        return torch.zeros(len(truth.embedding), dtype=torch.float64)


class ProxyFD(Metric):
    """Frechet distance between the network's features of generated and of true pictures, each sample once.

    The states are flat float64 lists: a process without data can then be joined with the others.
    """

    name: ClassVar[str] = "proxy-FD"
    unit: ClassVar[str] = ""
    protocol: ClassVar[str] = f"Frechet distance of standardised stage means, 8-bit RGB at 128 px; {_DISCLAIMER}"
    digits: ClassVar[int] = 2
    comparable: ClassVar[bool] = False
    higher_is_better = False
    full_state_update = False
    ids: list[Tensor]
    videos: list[Tensor]
    times: list[Tensor]
    generated: list[Tensor]
    true: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("ids", "videos", "times", "generated", "true"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Adds pictures ``B 3 H H`` in [0, 1] and the true ones under their identifiers ``video/frame``.

        Raises:
            ValueError: If a shape, type or range is wrong, or the numbers differ.
        """
        if not len(preds) == len(target) == len(sample_ids):
            raise ValueError(f"{self.name} needs as many predictions, targets and sample_ids; they are not.")
        self.ids.append(self._keys(sample_ids))
        self.videos.append(self._keys([name.rpartition("/")[0] or name for name in sample_ids]))
        times = [name.rpartition("/")[2] for name in sample_ids]
        self.times.append(self.videos[-1].new_tensor([float(time) if time.isdecimal() else 0.0 for time in times]))
        for state, images in ((self.generated, preds), (self.true, target)):
            state.append(analyse(images).features.double().flatten().to(self.device))

    def compute(self) -> Tensor:
        """The distance; nan with fewer than two samples."""
        generated, true = self._vectors()
        if len(generated) < 2:
            return torch.tensor(torch.nan, dtype=torch.float64)
        return distance(generated, true)

    def _vectors(self) -> tuple[Tensor, Tensor]:
        """What the distance is between: ``N D`` and ``N D``, one row a sample."""
        return self._frames()[1:]

    def _frames(self) -> tuple[Tensor, Tensor, Tensor]:
        """The video of each sample ``N``, and its features ``N D`` twice, in order of video and time, each once."""
        if not len(self.ids):
            return (torch.empty(0, 0, dtype=torch.float64),) * 3
        ids, videos, times = (dim_zero_cat(state).cpu() for state in (self.ids, self.videos, self.times))
        _, first = np.unique(ids.numpy(), return_index=True)
        kept = first[np.lexsort((ids.numpy()[first], times.numpy()[first], videos.numpy()[first]))]
        generated, true = (dim_zero_cat(state).cpu().view(len(ids), -1)[kept] for state in (self.generated, self.true))
        return videos[kept], generated, true

    def _keys(self, names: Sequence[str]) -> Tensor:
        return torch.tensor([PerSampleMetric.sample_key(name) for name in names], dtype=torch.float64).to(self.device)


class ProxyFVD(ProxyFD):
    """Frechet distance between clips: features pooled over each video's frames as they follow each other."""

    name: ClassVar[str] = "proxy-FVD"
    protocol: ClassVar[str] = (
        "Frechet distance of each video's mean, deviation and mean absolute step from frame to frame of standardised "
        f"stage means, 8-bit RGB at 128 px; {_DISCLAIMER}"
    )

    def _vectors(self) -> tuple[Tensor, Tensor]:
        videos, generated, true = self._frames()
        if not len(videos):
            return generated, true
        lengths = torch.unique_consecutive(videos, return_counts=True)[1].tolist()
        return pooled(generated, lengths), pooled(true, lengths)


def distance(generated: Tensor, true: Tensor) -> Tensor:
    """Frechet distance between features ``N D`` and ``M D`` of the network, float64."""
    from metrics.distribution import frechet_distance

    return torch.as_tensor(frechet_distance(generated.double(), true.double()), dtype=torch.float64)


def pooled(features: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean, deviation (of the population) and mean absolute step of features ``T D``, video after video: ``V 3D``."""
    rows = []
    for clip in features.split(list(lengths)):
        step = clip.diff(dim=0).abs().mean(0) if len(clip) > 1 else torch.zeros_like(clip[0])
        rows.append(torch.cat([clip.mean(0), clip.std(0, correction=0), step]))
    return torch.stack(rows)


def _digest(image: Tensor) -> str:
    pixels = image.mul(255).round().byte().cpu().numpy()
    return sha1(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
