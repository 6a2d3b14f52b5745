"""Landmarks, identity, head pose, action units and expression of faces: one value a picture, float64."""

from dataclasses import replace

import torch
from torch import Tensor

from metrics.actions import AUCON, BSCON, aucon, bscon, cohen_kappa
from metrics.base import Card, check_pair
from metrics.face_scores import ANALYSER, FaceMetric
from metrics.pose import PRMSE, HeadPose, angle_rmse_degrees, euler_degrees, prmse_degrees
from metrics.quality import IQA

__all__ = [
    "AED",
    "AKD",
    "AKDL2",
    "AUCON",
    "BSCON",
    "CSIM",
    "IQA",
    "NME",
    "PRMSE",
    "ExpressionError",
    "HeadPose",
    "IdentityDistance",
    "aed_squared",
    "akd_l1",
    "akd_l2",
    "angle_rmse_degrees",
    "aucon",
    "bscon",
    "cohen_kappa",
    "cosine_similarity",
    "euler_degrees",
    "expression_error",
    "identity_distance",
    "inter_ocular",
    "nme",
    "prmse_degrees",
]

EYE_CORNERS = (36, 45)  # the outer ones, in the order of the field
MISS_INTER_OCULAR = 1.0  # a missed face is this many inter-ocular distances off


def akd_l1(preds: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the coordinates of landmarks ``B L 2``, pixels, ``B``; this is the field's AKD.

    Reference: Siarohin et al. 2019, First Order Motion Model, section 4, "AKD".
    """
    return _gap("B L 2", preds, target).abs().mean((1, 2))


def akd_l2(preds: Tensor, target: Tensor) -> Tensor:
    """Mean Euclidean distance of landmarks ``B L 2``, pixels, ``B``; pi / 2 of `akd_l1` for isotropic errors."""
    return _gap("B L 2", preds, target).norm(dim=2).mean(1)


def nme(preds: Tensor, target: Tensor) -> Tensor:
    """`akd_l2` of landmarks ``B 68 2`` over the target's distance of the outer eye corners, ``B``; nan if that is 0.

    Raises:
        ValueError: If a shape, type or value is wrong: other than 68 points have their eye corners elsewhere.

    Reference: Sagonas et al. 2013, 300 Faces in-the-Wild Challenge.
    """
    check_pair("B 68 2", preds, target)
    distance = inter_ocular(target)
    return torch.where(distance > 0, akd_l2(preds, target) / distance, torch.nan)


def inter_ocular(landmarks: Tensor) -> Tensor:
    """Distance of the outer eye corners of landmarks ``B 68 2``, pixels, ``B``.

    Raises:
        ValueError: If they are not 68 finite points each.
    """
    check_pair("B 68 2", landmarks, landmarks)
    right, left = (landmarks[:, corner].double() for corner in EYE_CORNERS)
    return (right - left).norm(dim=1)


def aed_squared(preds: Tensor, target: Tensor) -> Tensor:
    """Squared distance of embeddings ``B D``, ``B``, no root; 2 (1 - cosine) if they have unit length.

    Reference: Siarohin et al. 2019, First Order Motion Model, section 4, "AED".
    """
    return _gap("B D", preds, target).square().sum(1)


def cosine_similarity(preds: Tensor, target: Tensor) -> Tensor:
    """Cosine of the angle between embeddings ``B D``, ``B`` in [-1, 1]; nan, not 0, where one of them is zero.

    Reference: Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, section 3.
    """
    check_pair("B D", preds, target)
    return (_unit(preds) * _unit(target)).sum(1).clamp(-1, 1)


def identity_distance(preds: Tensor, target: Tensor) -> Tensor:
    """Euclidean distance of embeddings ``B D``, ``B``; what a network is trained for whose loss has one.

    Reference: King 2017, High Quality Face Recognition with Deep Metric Learning (dlib's ResNet; 0.6 is one person).
    """
    return _gap("B D", preds, target).norm(dim=1)


def expression_error(preds: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of expression coefficients ``B K``, ``B``."""
    return _gap("B K", preds, target).abs().mean(1)


def _gap(layout: str, preds: Tensor, target: Tensor) -> Tensor:
    """The difference of two checked batches, float64."""
    check_pair(layout, preds, target)
    return preds.double() - target.double()


def _unit(vectors: Tensor) -> Tensor:
    """Vectors ``B D`` at unit length, float64; nan where they are zero."""
    return vectors.double() / vectors.double().norm(dim=1, keepdim=True)


class AKD(FaceMetric):
    """`akd_l1` of the landmarks of two faces."""

    card = Card(
        name="AKD",
        group="picture",
        higher_is_better=False,
        protocol="68 landmarks, mean absolute coordinate difference in pixels of the picture, a miss is 1 inter-ocular",
        unit="px",
        definition="Mean of |Δx| and |Δy| over the 68 landmarks of the true and the generated face.",
        value_range="[0, inf) px; 0 for equal landmarks, half as many pixels at half the resolution",
        reference="Siarohin et al. 2019, First Order Motion Model, section 4 (2DFAN-4 at 256 px)",
        traps=(
            "No Euclidean distance, which is about π/2 times larger; the detector's own jitter is a floor; JPEG or "
            "mp4 instead of PNG moves it."
        ),
        parity="24",
        backbone=ANALYSER,
    )
    part, proxy_name = "landmarks", "proxy-AKD"

    compare = staticmethod(akd_l1)

    def penalty(self, truth: Tensor) -> float:
        """The inter-ocular distance of the truth."""
        return MISS_INTER_OCULAR * float(inter_ocular(truth[None]))


class AKDL2(AKD):
    """`akd_l2` of the landmarks of two faces."""

    card = replace(
        AKD.card,
        name="AKD-L2",
        protocol="68 landmarks, mean Euclidean distance in pixels of the picture, a miss is 1 inter-ocular",
        definition="Mean Euclidean distance of the 68 landmarks of the true and the generated face.",
        reference="None: it is what AKD is often taken for",
        traps="Not the AKD of the published tables.",
        parity="24",
    )
    proxy_name = "proxy-AKD-L2"

    compare = staticmethod(akd_l2)


class NME(AKD):
    """`nme` of the landmarks of two faces."""

    card = replace(
        AKD.card,
        name="NME",
        protocol="68 landmarks, mean Euclidean distance over the true outer eye corners' distance, a miss is 1",
        unit="",
        digits=4,
        definition="AKD-L2 divided by the distance of the true face's outer eye corners.",
        value_range="[0, inf), at any resolution; 0 for equal landmarks",
        reference="Sagonas et al. 2013, 300 Faces in-the-Wild Challenge",
        traps="Elsewhere the distance of the pupils or the size of the box divides; profiles have little width.",
        parity="24",
    )
    proxy_name = "proxy-NME"

    compare = staticmethod(nme)

    def penalty(self, truth: Tensor) -> float:
        """The declared number of inter-ocular distances."""
        return MISS_INTER_OCULAR


class CSIM(FaceMetric):
    """`cosine_similarity` of the identities of two faces; as target give the picture whose person is to be kept."""

    card = Card(
        name="CSIM",
        group="identity",
        higher_is_better=True,
        protocol="cosine of the embeddings of the generated and the given picture, a miss is 0",
        definition="Cosine of the identity embeddings of the generated face and the face to be kept.",
        value_range="[-1, 1]; 1 for equal embeddings",
        reference="Deng et al. 2019, ArcFace; Ha et al. 2020, MarioNETte",
        traps=(
            "A copy of the source scores 1, so read it beside a motion metric and beside the rows of another real "
            "frame and of another person; alignment and backbone matter more than the method; BGR taken for RGB "
            "lowers it."
        ),
        parity="26",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "embedding", "proxy-ID", 0.0

    compare = staticmethod(cosine_similarity)


class AED(FaceMetric):
    """`aed_squared` of the identities of two faces at unit length."""

    card = Card(
        name="AED-id²",
        group="identity",
        higher_is_better=False,
        protocol="squared distance of unit embeddings, a miss is 2 (cosine 0)",
        definition="Squared distance of the identity embeddings at unit length, which is 2 (1 - CSIM).",
        value_range="[0, 4]; 0 for equal embeddings",
        reference="Siarohin et al. 2019, First Order Motion Model, section 4 (OpenFace nn4.small2)",
        traps="The field's script squares it; the AED of expression codes or of blendshapes is another metric.",
        parity="25",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "embedding", "proxy-AED-id²", 2.0

    @staticmethod
    def compare(generated: Tensor, truth: Tensor) -> Tensor:
        """`aed_squared` at unit length."""
        return (_unit(generated) - _unit(truth)).square().sum(1)  # nan, as cosine_similarity, for a zero vector


class IdentityDistance(FaceMetric):
    """`identity_distance` of the identities of two faces; as target give the picture whose person is to be kept."""

    card = Card(
        name="ID-L2",
        group="identity",
        higher_is_better=False,
        protocol="Euclidean distance of the embeddings of the generated and the given picture, a miss is 1.5",
        definition="Euclidean distance of the identity embeddings, of the length that the network gives them.",
        value_range="[0, inf); 0 for equal embeddings, at most 0.6 for one person by dlib's ResNet",
        reference="King 2017, High Quality Face Recognition with Deep Metric Learning",
        traps="For networks that are trained by distance; those that are trained by angle have CSIM.",
        parity="none: held to dlib's own embeddings and to a closed form",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "embedding", "proxy-ID-L2", 1.5

    compare = staticmethod(identity_distance)


class ExpressionError(FaceMetric):
    """`expression_error` of two faces."""

    card = Card(
        name="Expression",
        group="picture",
        higher_is_better=False,
        protocol="mean absolute difference of expression coefficients, a miss is 1",
        digits=4,
        definition="Mean absolute difference of the expression coefficients of one face model.",
        value_range="[0, inf); 0 for equal coefficients, at most 1 for strengths in [0, 1]",
        reference="Ji et al. 2025 (whose tracker is not public)",
        traps="Coefficients of different models, or sums instead of means, cannot be compared.",
        parity="none: held to a closed form",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "expression", "proxy-expr", 1.0

    compare = staticmethod(expression_error)
