"""Which metrics each task has, and why one of them cannot be computed here."""

from collections.abc import Iterable
from typing import Any

from benchmarks.tasks import avatar as avatars
from metrics.backbones import BACKBONES
from metrics.base import Card, Scored
from metrics.depth import RMSE, AbsRel, Delta1, NormalError
from metrics.face import AKD, CSIM, NME, ExpressionError, HeadPose
from metrics.face_scores import FaceMetric
from metrics.fid import FID, FVD, KID, KVD
from metrics.image import L1, LPIPS, MSSSIM, PSNR, SSIM
from metrics.procface import SHA256
from metrics.proxy import ProxyFD, ProxyFVD
from models.tasks import AVATAR
from models.weights import FILES

LEAST_PROXY = 64  # pixels: the least that the suite's face network has learnt
LEAST_PHOTOGRAPH = 128  # pixels: detectors find no faces in less, and Inception and I3D take minutes over upscaled ones


def face(metric: type[FaceMetric], network: str, **changes: Any) -> Scored:  # noqa: ANN401 - of a card's fields
    """A face metric by one of the networks of `metrics.face_analysers`, for pictures that are large enough for it."""
    least = LEAST_PHOTOGRAPH if BACKBONES[network].comparable else LEAST_PROXY
    return metric.by(network, least_size=least, **changes)


REENACTMENT_METRICS: tuple[Scored, ...] = (
    *(metric.scored() for metric in (L1, PSNR, SSIM, MSSSIM)),
    LPIPS.by("alex"),
    face(AKD, "procface"),
    face(CSIM, "procface", group="picture"),  # of the true frame, which shows the person to be kept
    *(face(metric, "procface") for metric in (HeadPose, ExpressionError)),
    *(metric.scored(least_size=LEAST_PROXY) for metric in (ProxyFD, ProxyFVD)),
    *(face(metric, "2dfan4") for metric in (AKD, NME)),
    face(CSIM, "yunet-sface", group="picture"),
    *(metric.scored(least_size=LEAST_PHOTOGRAPH) for metric in (FID, KID, FVD, KVD)),
)
TASK_METRICS: dict[str, tuple[Scored, ...]] = {  # to add a metric, add its line here, and a column to a table
    "self_reenactment": REENACTMENT_METRICS,
    "cross_reenactment": REENACTMENT_METRICS,
    "depth": tuple(metric.scored() for metric in (AbsRel, Delta1, RMSE, NormalError)),
    AVATAR: avatars.METRICS,
}
WEIGHTS_ABSENT, PACKAGE_ABSENT = "weights absent", "package absent"


def specs(task: str) -> list[str]:
    """What a test of a task would be scored by here and now: a change of it makes another run."""
    return [scored.card.spec() for scored in TASK_METRICS.get(task, ()) if not unmet(scored.card)]


def unmet(card: Card, side: float = float("inf")) -> str:
    """Why a metric cannot score pictures of this smaller side here; empty if it can."""
    if side < card.least_size:
        return f"under {card.least_size} px"
    network = BACKBONES.get(card.backbone)
    if network is None:
        return ""
    return WEIGHTS_ABSENT if network.missing else PACKAGE_ABSENT if network.lacks_package else ""


def remedy(cards: Iterable[Card]) -> str:
    """One line of what is left out for want of weights or packages, and what to do; empty if nothing is."""
    found = {card.name: BACKBONES[card.backbone] for card in cards}
    files = dict.fromkeys(name for network in found.values() for name in network.missing)
    packages = dict.fromkeys(network.install for network in found.values() if network.lacks_package)
    steps = [f"python -m models.weights fetch {' '.join(files)}"] if files else []
    steps += [f"pip install {' '.join(packages)}"] if packages else []
    return f"Not scored, for want of networks: {', '.join(found)}. To have them: {' && '.join(steps)}" if found else ""


def provenance(backbone: str) -> str:
    """What a record and a footer say of a network: its files, their checksums and licences."""
    network = BACKBONES[backbone]
    files = ", ".join(f"{name} sha256 {FILES[name].sha256 or 'not published'}" for name in network.weights)
    own = f"procface sha256 {SHA256[:12]}, {network.origin}"
    return f"{files or own}; {network.licence}"
