"""Head poses of faces: the angle between two, and the field's root mean square of Euler angles."""

import warnings
from dataclasses import replace
from typing import ClassVar

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from metrics.base import Card, check_pair
from metrics.face_scores import ANALYSER, Comparison, FaceMetric
from metrics.geometry import check_rotation, geodesic_degrees

EULER_ORDER = "YXZ"  # yaw, pitch, roll about the moving axes


def prmse_degrees(preds: Tensor, target: Tensor, order: str = EULER_ORDER) -> Tensor:
    """Root of the mean squared difference of the three Euler angles of rotations ``B 3 3``, degrees, ``B``.

    Args:
        preds: Rotations.
        target: As ``preds``.
        order: Axes as scipy names them, capitals turning with the head; another order gives another number.

    Reference: Ha et al. 2020, MarioNETte, "PRMSE".
    """
    return angle_rmse_degrees(euler_degrees(preds, order), euler_degrees(target, order))


def angle_rmse_degrees(preds: Tensor, target: Tensor) -> Tensor:
    """Root of the mean squared difference of angles ``B 3`` in degrees, each wrapped to [-180, 180), ``B``."""
    check_pair("B 3", preds, target)
    turned = torch.remainder(preds.double() - target.double() + 180, 360) - 180
    return turned.square().mean(1).sqrt()


def euler_degrees(rotations: Tensor, order: str = EULER_ORDER) -> Tensor:
    """Euler angles ``B 3`` of rotations ``B 3 3`` in degrees, in the order of the axes named.

    Raises:
        ValueError: If they are no rotations, or the order names no three axes.
    """
    if rotations.ndim != 3:
        raise ValueError(f"The rotations are {tuple(rotations.shape)}; pass a batch B 3 3.")
    check_rotation("A rotation", rotations)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # one of the many that are right is as good
        angles = Rotation.from_matrix(rotations.double().cpu().numpy()).as_euler(order, degrees=True)  # type: ignore[call-overload]
    return torch.from_numpy(angles)


class HeadPose(FaceMetric):
    """`geodesic_degrees` of two faces: the angle of the turn between two heads, whatever the Euler order."""

    card = Card(
        name="Pose",
        group="picture",
        higher_is_better=False,
        protocol="geodesic angle between head rotations, a miss is 90",
        unit="°",
        digits=2,
        definition="Angle of the rotation between the generated and the true head.",
        value_range="[0, 180] degrees; 0 for equal rotations",
        reference="Huynh 2009, Metrics for 3D Rotations: Comparison and Analysis, section 3.6",
        traps="Not the number of any Euler angles; estimators differ by constant offsets.",
        parity="27",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "rotation", "proxy-pose", 90.0

    compare: ClassVar[Comparison] = staticmethod(geodesic_degrees)


class PRMSE(HeadPose):
    """`prmse_degrees` of two faces."""

    card = replace(
        HeadPose.card,
        name="PRMSE",
        protocol=f"root mean square of the wrapped differences of {EULER_ORDER} angles a picture, a miss is 90",
        definition="Root of the mean squared difference of yaw, pitch and roll of a picture, averaged over pictures.",
        reference="Ha et al. 2020, MarioNETte",
        traps=(
            "The order of the angles changes it threefold; radians divide it by 57.3; without wrapping, 179 against "
            "-179 is 358; a mean over pictures of roots, no root over the set."
        ),
        parity="27",
    )
    proxy_name = "proxy-PRMSE"

    compare = staticmethod(prmse_degrees)
