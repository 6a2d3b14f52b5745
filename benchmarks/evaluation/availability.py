"""Which of a task's metrics can be computed here, why others cannot, and what brings them back."""

from collections.abc import Iterable
from typing import Any

from metrics.backbones import BACKBONES
from metrics.base import Card, Scored
from metrics.face_scores import FaceMetric
from metrics.procface import SHA256
from metrics.proxyedit import SHA256 as EDIT_SHA256
from models.weights import FILES

SHIPPED = {"procface": SHA256, "proxyedit": EDIT_SHA256}  # checksums of the networks that ship with the suite
LEAST_PROXY = 64  # pixels: the least that the suite's face network has learnt
LEAST_PHOTOGRAPH = 128  # pixels: detectors find no faces in less, and Inception and I3D take minutes over upscaled ones


def face(metric: type[FaceMetric], network: str, **changes: Any) -> Scored:  # noqa: ANN401 - of a card's fields
    """A face metric by one of the networks of `metrics.face_analysers`, for pictures that are large enough for it."""
    least = LEAST_PHOTOGRAPH if BACKBONES[network].comparable else LEAST_PROXY
    return metric.by(network, least_size=least, **changes)


WEIGHTS_ABSENT, PACKAGE_ABSENT = "weights absent", "package absent"


def specs(metrics: Iterable[Scored]) -> list[str]:
    """What a test would be scored by here and now: a change of it makes another run."""
    return [scored.card.spec() for scored in metrics if not unmet(scored.card)]


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
    missing = dict.fromkeys(name for network in found.values() for name in network.missing)
    files = [name for name in missing if not FILES[name].package]
    lacking = [network for network in found.values() if network.lacks_package or {*network.missing} - {*files}]
    packages = dict.fromkeys(network.install for network in lacking)
    steps = [f"python -m models.weights fetch {' '.join(files)}"] if files else []
    steps += [f"pip install {' '.join(packages)}"] if packages else []
    return f"Not scored, for want of networks: {', '.join(found)}. To have them: {' && '.join(steps)}" if found else ""


def provenance(backbone: str) -> str:
    """What a record and a footer say of a network: its files, their checksums and licences."""
    network = BACKBONES[backbone]
    files = ", ".join(f"{name} sha256 {FILES[name].sha256 or 'not published'}" for name in network.weights)
    own = f"{backbone} sha256 {SHIPPED.get(backbone, '')[:12]}, {network.origin}"
    return f"{files or own}; {network.licence}"
