"""Which metrics each task has, and why one of them cannot be computed here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.tasks import avatar as avatars
from metrics.backbones import BACKBONES
from metrics.base import specification
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


@dataclass(frozen=True, eq=False)
class Configured:
    """A metric with options; what it says of itself is its class's but for the facts that the options change.

    Args:
        metric: The class.
        facts: Attributes of `metrics.base.Described` that differ from the class's: name, protocol, network, least size.
        options: What it is constructed with.
    """

    metric: type[Any]
    facts: Mapping[str, Any]
    options: Mapping[str, Any]

    def __call__(self, **more: Any) -> Any:  # noqa: ANN401 - a metric
        """Constructs the metric, with more options."""
        return self.metric(**self.options, **more)

    def __getattr__(self, fact: str) -> Any:  # noqa: ANN401 - what the class says
        return self.facts[fact] if fact in self.facts else getattr(self.metric, fact)

    def spec(self) -> str:
        """`specification` of the metric with these options."""
        return specification(self.name, self.version, self.protocol, self.backbone)


def face(metric: type[FaceMetric], network: str) -> Configured:
    """A face metric by one of the networks of `metrics.face_analysers`."""
    proxy = not BACKBONES[network].comparable
    least = LEAST_PROXY if proxy else LEAST_PHOTOGRAPH
    return Configured(metric, metric.facts(network, proxy) | {"least_size": least}, {"analyser": network})


def sized(metric: type[Any], least: int) -> Configured:
    """A metric of pictures of at least that side."""
    return Configured(metric, {"least_size": least}, {})


TaskMetric = Any  # a class that is `metrics.base.Described`, or a `Configured` one
REENACTMENT_METRICS: tuple[TaskMetric, ...] = (
    L1,
    PSNR,
    SSIM,
    MSSSIM,
    Configured(LPIPS, LPIPS.facts("alex"), {"net": "alex"}),
    *(face(metric, "procface") for metric in (AKD, CSIM, HeadPose, ExpressionError)),
    *(sized(metric, LEAST_PROXY) for metric in (ProxyFD, ProxyFVD)),
    *(face(metric, "2dfan4") for metric in (AKD, NME)),
    face(CSIM, "yunet-sface"),
    *(sized(metric, LEAST_PHOTOGRAPH) for metric in (FID, KID, FVD, KVD)),
)
TASK_METRICS: dict[str, tuple[TaskMetric, ...]] = {  # to add a metric, add its line here, and a column to a table
    "self_reenactment": REENACTMENT_METRICS,
    "cross_reenactment": REENACTMENT_METRICS,
    "depth": (AbsRel, Delta1, RMSE, NormalError),
    AVATAR: avatars.METRICS,
}
WEIGHTS_ABSENT, PACKAGE_ABSENT = "weights absent", "package absent"


def specs(task: str) -> list[str]:
    """What a test of a task would be scored by here and now: a change of it makes another run."""
    return [metric.spec() for metric in TASK_METRICS.get(task, ()) if not unmet(metric)]


def unmet(metric: TaskMetric, side: float = float("inf")) -> str:
    """Why a metric cannot score pictures of this smaller side here; empty if it can."""
    if side < metric.least_size:
        return f"under {metric.least_size} px"
    network = BACKBONES.get(metric.backbone)
    if network is None:
        return ""
    return WEIGHTS_ABSENT if network.missing else PACKAGE_ABSENT if network.lacks_package else ""


def remedy(metrics: Iterable[TaskMetric]) -> str:
    """One line of what is left out for want of weights or packages, and what to do; empty if nothing is."""
    found = {metric.name: BACKBONES[metric.backbone] for metric in metrics}
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
