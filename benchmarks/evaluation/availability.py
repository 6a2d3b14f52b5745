"""Which of a task's metrics can be computed here, why others cannot, and what brings them back."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metrics.backbones import BACKBONES
from metrics.base import specification
from metrics.face_scores import FaceMetric
from metrics.procface import SHA256
from metrics.proxy import ProxyFD
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


@dataclass(frozen=True, eq=False)
class Scored:
    """A metric of a task: its card, and how it is made."""

    card: Any
    make: Callable[..., Any]
    group: str

    @property
    def looks_at_faces(self) -> bool:
        """Whether it takes a cache."""
        of_class = self.make.metric if isinstance(self.make, Configured) else self.make
        return issubclass(of_class, (FaceMetric, ProxyFD))


def scored(*kinds: Any, group: str = "picture") -> tuple[Scored, ...]:  # noqa: ANN401
    """Metrics of a task."""
    return tuple(Scored(kind, kind, "clip" if kind.clip_frames else group) for kind in kinds)


WEIGHTS_ABSENT, PACKAGE_ABSENT = "weights absent", "package absent"


def specs(metrics: Iterable[Scored]) -> list[str]:
    """What a test would be scored by here and now: a change of it makes another run."""
    return [metric.card.spec() for metric in metrics if not unmet(metric)]


def unmet(metric: Scored, side: float = float("inf")) -> str:
    """Why a metric cannot score pictures of this smaller side here; empty if it can."""
    if side < metric.card.least_size:
        return f"under {metric.card.least_size} px"
    network = BACKBONES.get(metric.card.backbone)
    if network is None:
        return ""
    return WEIGHTS_ABSENT if network.missing else PACKAGE_ABSENT if network.lacks_package else ""


def remedy(metrics: Iterable[Scored]) -> str:
    """One line of what is left out for want of weights or packages, and what to do; empty if nothing is."""
    networks = {metric.card.name: BACKBONES[metric.card.backbone] for metric in metrics}
    files = dict.fromkeys(name for network in networks.values() for name in network.missing)
    packages = dict.fromkeys(network.install for network in networks.values() if network.lacks_package)
    steps = [f"python -m models.weights fetch {' '.join(files)}"] if files else []
    steps += [f"pip install {' '.join(packages)}"] if packages else []
    lines = f"Not scored, for want of networks: {', '.join(networks)}. To have them: {' && '.join(steps)}"
    return lines if networks else ""


def provenance(backbone: str) -> str:
    """What a record and a footer say of a network: its files, their checksums and licences."""
    network = BACKBONES[backbone]
    files = ", ".join(f"{name} sha256 {FILES[name].sha256 or 'not published'}" for name in network.weights)
    own = f"procface sha256 {SHA256[:12]}, {network.origin}"
    return f"{files or own}; {network.licence}"
