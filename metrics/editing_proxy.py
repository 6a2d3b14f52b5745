"""Whether an edit happened, by the suite's own classifier, and one number for edits, under names of their own.

`proxy-edit-accuracy` and `proxy-edit-direction` rest on `metrics.proxyedit`, `proxy-edit-score` on the face network. No
proxy is comparable with a published number.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import Card, PerSampleMetric, Status, check_finite, check_pair
from metrics.editing import Edit, EditMetric
from metrics.editing_regions import MARGIN
from metrics.face import cosine_similarity
from metrics.face_analysers import load_analyser
from metrics.face_analysis import Face, FaceAnalyser, FaceAnalysisCache, paired
from metrics.image import l1
from metrics.pictures import as_saved, checked_pair, masked_mean
from metrics.procface import DISCLAIMER, PROXY
from metrics.proxyedit import EDIT_PROXY, classes_of, shipped_proxyedit

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
LOOKED_AT = f"{EDIT_PROXY}; 8-bit RGB at 64 px; {DISCLAIMER}"
INSTRUCT = "Brooks et al. 2023, InstructPix2Pix: Learning to Follow Image Editing Instructions, section 4"


def edit_direction(preds: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Cosine of the way from the input's features to the result's and to the perfect edit's, ``B`` in [-1, 1].

    Args:
        preds: ``B D``, features of the results.
        target: As ``preds``, of the perfect edits.
        source: As ``preds``, of the inputs.

    Returns:
        float64; 0 where the result's features are those of the input, nan where the perfect edit's are.

    Raises:
        ValueError: If a shape or value is wrong.

    Reference: Gal et al. 2022, StyleGAN-NADA: CLIP-Guided Domain Adaptation of Image Generators, section 4.1.
    """
    check_pair("B D", preds, target)
    check_pair("B D", source, target)
    moved, wanted = preds.double() - source.double(), target.double() - source.double()
    cosine = F.cosine_similarity(moved, wanted, dim=1)
    return cosine.where(moved.any(1), 0.0).where(wanted.any(1), torch.nan).clamp(-1, 1)


def harmonic_mean(parts: Tensor) -> Tensor:
    """The harmonic mean ``B`` of parts ``B K`` in [0, 1], float64; 0 where one of them is 0.

    Raises:
        ValueError: If a shape or value is wrong; a part may be nan, and so is the mean then.
    """
    if parts.ndim != 2 or not parts.shape[1]:
        raise ValueError(f"The parts are {tuple(parts.shape)}; pass some of each sample, B K.")
    check_finite("A part", parts.nan_to_num(0.0, torch.inf, -torch.inf) if parts.is_floating_point() else parts)
    if (parts < 0).any() or (parts > 1).any():
        raise ValueError(f"The parts span [{parts.min():.3g}, {parts.max():.3g}]; normalise them to [0, 1].")
    return parts.shape[1] / (1 / parts.double()).sum(1)


class EditWordsMetric(PerSampleMetric):
    """What the classifier makes of edited pictures; words of an edit that it does not know are nan and FAILED.

    Args:
        network: Logits and features of pictures; the shipped classifier if None.
    """

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.network = network

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        source: Tensor,
        asked: Sequence[str],
        sample_ids: Sequence[str],
        status: Tensor | None = None,
    ) -> None:
        """Adds pictures ``B 3 H W``, perfect edits, inputs, and the words of the perfect edits.

        Raises:
            ValueError: If a shape, type or range is wrong.
            UserError: If the classifier's file is damaged.
        """
        for other in (target, source):
            checked_pair(preds, other)
        if len(asked) != len(preds):
            raise ValueError(f"{self.card.name} got {len(preds)} pictures and {len(asked)} words; pass one of each.")
        classes = classes_of(asked).to(preds.device)
        known = classes >= 0
        values = self.score(preds, target, source, classes).double().where(known, torch.nan)
        own = torch.where(values.isnan(), int(Status.FAILED), int(Status.OK))
        self.append(sample_ids, values, own, status)

    def score(self, preds: Tensor, target: Tensor, source: Tensor, classes: Tensor) -> Tensor:
        """The score ``B`` of pictures whose perfect edits are of classes ``B``."""
        raise NotImplementedError

    @torch.no_grad()
    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of pictures as they would be saved."""
        network = self.network or shipped_proxyedit(pictures.device)
        logits, features = network(as_saved(pictures).float())
        return logits, features


class ProxyEditAccuracy(EditWordsMetric):
    """Whether the classifier sees the edit that was asked for."""

    card = Card(
        name="proxy-edit-accuracy",
        group="edit_words",
        backbone="proxyedit",
        higher_is_better=True,
        protocol=f"{LOOKED_AT}; the likeliest of eight edits and none is the one that the words ask for",
        definition="Share of results in which the suite's own classifier sees the edit that was asked for.",
        value_range="[0, 1]; 1 where every edit is recognised; its card says what perfect and copied pictures reach",
        reference=INSTRUCT,
        traps="Says that an edit is there, not that all else was kept; blur and noise lower it too. No CLIP score.",
        parity="none: held to logits by hand",
    )

    def score(self, preds: Tensor, target: Tensor, source: Tensor, classes: Tensor) -> Tensor:
        """Implements `EditWordsMetric`."""
        return self.look(preds)[0].argmax(1) == classes


class ProxyEditDirection(EditWordsMetric):
    """`edit_direction` of the classifier's features."""

    card = Card(
        name="proxy-edit-direction",
        group="edit_words",
        backbone="proxyedit",
        higher_is_better=True,
        protocol=f"{LOOKED_AT}; 64 features, from the input to the result against from the input to the perfect edit",
        definition="Cosine between the change of the classifier's features and that of the perfect edit.",
        value_range="[-1, 1]; 1 for the perfect edit, 0 for the copied input",
        reference=f"{INSTRUCT} (there by CLIP, and against the change of the words)",
        traps="Says nothing of how far: half an edit points the same way. No CLIP directional similarity.",
        parity="none: held to vectors by hand",
    )

    def score(self, preds: Tensor, target: Tensor, source: Tensor, classes: Tensor) -> Tensor:
        """Implements `EditWordsMetric`."""
        return edit_direction(*(self.look(pictures)[1] for pictures in (preds, target, source)))


class ProxyEditScore(EditMetric):
    """The harmonic mean of what is kept outside, reached inside, and left of the person, each 1 for the perfect edit.

    Args:
        analyser: What tells the person; the shipped face network if None.
        cache: Give all metrics of one evaluation the same, and each picture is looked at once.

    Raises:
        UserError: If the network's file is damaged.
    """

    card = Card(
        name="proxy-edit-score",
        group="edit",
        higher_is_better=True,
        protocol=(
            f"{PROXY}, {EDIT_PROXY}; per picture, harmonic mean of: outside (mask and {MARGIN} px about it left out) "
            "1 - L1 to the input over that of the input's mean colour there; 1 - distance to the perfect edit over the "
            "input's, mean of L1 inside and of the classifier's features; cosine of persons with the input over the "
            f"perfect edit's; each clipped to [0, 1]; {DISCLAIMER}"
        ),
        definition="Harmonic mean of the shares of the surroundings kept, of the edit reached and of the person left.",
        value_range="[0, 1]; 1 for the perfect edit, 0 for the copied input and for a flat picture",
        reference="None: it is the suite's own",
        traps="A result farther from the perfect edit than the input, in pixels and features, is 0 whatever it keeps.",
        parity="none: exact on the perfect edit, the copied input and half-way between",
        backbone="procface",
    )

    def __init__(self, analyser: FaceAnalyser | None = None, cache: FaceAnalysisCache | None = None) -> None:
        super().__init__()
        self.analyser = analyser or load_analyser("procface")
        self.cache = FaceAnalysisCache() if cache is None else cache

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return harmonic_mean(self.parts(edit))

    def parts(self, edit: Edit) -> Tensor:
        """What is kept, reached and left, ``B 3`` in [0, 1]; nan where it cannot be told."""
        kept = _share(l1(edit.preds, edit.source, edit.outside), _contrast(edit.source, edit.outside))
        inside = _share(*(l1(pictures, edit.target, edit.inside) for pictures in (edit.preds, edit.source)))
        shown, goal, before = (self._features(pictures) for pictures in (edit.preds, edit.target, edit.source))
        reached = (inside + _share((shown - goal).norm(dim=1), (before - goal).norm(dim=1))) / 2
        best = self._likeness(edit.target, edit.source)
        left = self._likeness(edit.preds, edit.source) / best.where(best > 0, torch.nan)
        return torch.stack([kept, reached, left.clamp(0, 1)], 1)

    def _features(self, pictures: Tensor) -> Tensor:
        """The classifier's features ``B 64``, float64."""
        return shipped_proxyedit(pictures.device)(pictures.float())[1].double()

    def _likeness(self, pictures: Tensor, source: Tensor) -> Tensor:
        """Cosine ``B`` of the persons in pictures and inputs; 0 for a missed face, nan for an input without one."""
        shown, known = (self.cache.analyse(self.analyser, images) for images in (pictures, source))
        pairs = [paired(*both, self.analyser.min_confidence)[:2] for both in zip(known, shown, strict=True)]
        values = [torch.nan if truth is None else 0.0 if face is None else _alike(face, truth) for truth, face in pairs]
        return torch.tensor(values, dtype=torch.float64, device=pictures.device)


def _share(left: Tensor, whole: Tensor) -> Tensor:
    """How much of a distance is gone, ``B`` in [0, 1], if some of it is left; nan where there was none."""
    return (1 - left / whole.where(whole > 0, torch.nan)).clamp(0, 1)


def _contrast(images: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference ``B`` of pictures from their mean colour over the mask's pixels."""
    colour = torch.stack([masked_mean(part, mask) for part in images.split(1, 1)], 1)
    return masked_mean((images - colour[:, :, None, None]).abs(), mask)


def _alike(face: Face, truth: Face) -> float:
    assert face.embedding is not None
    assert truth.embedding is not None
    return float(cosine_similarity(face.embedding[None], truth.embedding[None])[0])
