"""FID and KID of pictures by Inception, FVD and KVD of clips by I3D."""

from dataclasses import replace

from torch import Tensor, nn

from metrics.base import Card
from metrics.feature_sets import FrechetDistance, KernelDistance
from metrics.pictures import as_saved, check_rgb
from metrics.resize import Rule, clip_bilinear, resize

LEAST_FRAMES = 10  # what the pooling of I3D needs


class _Pictures:
    """Prepares pictures for Inception: rounded to 8 bits, resized to 299 pixels, in grey levels."""

    rule: Rule = "pil-bicubic"

    def prepare(self, samples: Tensor, name: str) -> Tensor:
        """Pictures ``B 3 H W`` in [0, 1] as grey levels ``B 3 299 299``, float32."""
        check_rgb(name, samples)
        return resize(as_saved(samples) * 255, 299, self.rule)


class FID(_Pictures, FrechetDistance):
    """Fréchet Inception distance by the TF-2015 network.

    Args:
        extractor: From grey levels ``B 3 299 299`` to ``B 2048``; see `FeatureSetMetric`.
        rule: The rule of resizing; another than clean-fid's is named.
        ddof: See `frechet_distance`.
    """

    card = replace(
        FrechetDistance.card,
        name="FID",
        protocol=(
            "Inception TF-2015 pool3, 8-bit RGB, Pillow bicubic in float32 to 299 px, unbiased covariance, equal "
            "numbers"
        ),
        definition="Fréchet distance of 2048 features (pool3) of the Inception network of 2015-12-05.",
        traps=(
            "Resizing rule, number of samples and network each move it by more than methods do; not reliable under "
            "some 1000s of samples, where KID is."
        ),
        parity="10, 12, 14, 19",
        backbone="inception-tf2015",
    )

    def __init__(self, extractor: nn.Module | None = None, rule: Rule = "pil-bicubic", ddof: int = 1) -> None:
        _name_rule(self, rule)
        super().__init__(extractor, ddof)


class KID(_Pictures, KernelDistance):
    """Kernel Inception distance by the TF-2015 network, in thousandths.

    Args:
        extractor: From grey levels ``B 3 299 299`` to ``B 2048``; see `FeatureSetMetric`.
        rule: The rule of resizing; another than clean-fid's is named.
    """

    card = replace(
        KernelDistance.card,
        name="KID",
        protocol=(
            "Inception TF-2015 pool3, 8-bit RGB, Pillow bicubic in float32 to 299 px, one U-statistic, equal numbers"
        ),
        unit="10⁻³",
        definition=(
            "1000 times the unbiased squared MMD of 2048 features (pool3) of the Inception network of 2015-12-05."
        ),
        parity="17, 19",
        backbone="inception-tf2015",
    )
    factor = 1000.0

    def __init__(self, extractor: nn.Module | None = None, rule: Rule = "pil-bicubic") -> None:
        _name_rule(self, rule)
        super().__init__(extractor)


class _Clips:
    """Prepares clips for I3D: the first 16 frames, rounded to 8 bits, resized to 224 pixels, in grey levels."""

    card: Card

    def prepare(self, samples: Tensor, name: str) -> Tensor:
        """Clips ``B T 3 H W`` in [0, 1] as grey levels ``B 16 3 224 224``, float32."""
        check_rgb(name, samples, clips=True)
        if samples.shape[1] < (length := self.card.clip_frames):
            advice = f"pass longer clips, or frames=T of at least {LEAST_FRAMES}"
            raise ValueError(f"{name} has {samples.shape[1]} frames where {length} are needed; {advice}.")
        return clip_bilinear(as_saved(samples[:, :length]) * 255, 224)


class FVD(_Clips, FrechetDistance):
    """Fréchet video distance by I3D-K400; one clip, the first frames, of each video.

    Args:
        extractor: From grey levels ``B T 3 224 224`` to ``B 400``; see `FeatureSetMetric`.
        frames: Length of a clip, at least 10; another than 16 is named.
        ddof: 0 is StyleGAN-V's; see `frechet_distance`.
    """

    card = replace(
        FrechetDistance.card,
        name="FVD",
        group="clip",
        protocol=(
            "I3D-K400 logits, first 16 frames, stride 1, 8-bit, bilinear to 224 px, unbiased covariance, equal numbers"
        ),
        definition="Fréchet distance of the 400 logits of the I3D network on Kinetics-400.",
        reference="Unterthiner et al. 2018, Towards Accurate Generative Models of Video",
        traps=(
            "Clip length, number of clips, port of the network and covariance (ddof) each move it; favours frames "
            "over motion; under 400 clips mostly bias, where KVD is the number to read."
        ),
        parity="12, 18",
        backbone="i3d-k400",
        clip_frames=16,
    )

    def __init__(self, extractor: nn.Module | None = None, frames: int = 16, ddof: int = 1) -> None:
        _name_frames(self, frames)
        super().__init__(extractor, ddof)


class KVD(_Clips, KernelDistance):
    """Kernel video distance by I3D-K400: what to read with fewer than 400 clips.

    Args:
        extractor: From grey levels ``B T 3 224 224`` to ``B 400``; see `FeatureSetMetric`.
        frames: Length of a clip, at least 10; another than 16 is named.
    """

    card = replace(
        KernelDistance.card,
        name="KVD",
        group="clip",
        protocol=(
            "I3D-K400 logits, first 16 frames, stride 1, 8-bit, bilinear to 224 px, one U-statistic, equal numbers"
        ),
        definition="Unbiased squared MMD of the 400 logits of the I3D network on Kinetics-400.",
        reference="Unterthiner et al. 2018, Towards Accurate Generative Models of Video",
        parity="17, 18",
        backbone="i3d-k400",
        clip_frames=16,
    )

    def __init__(self, extractor: nn.Module | None = None, frames: int = 16) -> None:
        _name_frames(self, frames)
        super().__init__(extractor)


def _name_rule(metric: FID | KID, rule: Rule) -> None:
    if rule != "pil-bicubic":
        protocol = metric.card.protocol.replace("Pillow bicubic in float32", rule)
        metric.card = replace(metric.card, name=f"{metric.card.name}-{rule}", protocol=protocol)
        metric.rule = rule


def _name_frames(metric: FVD | KVD, frames: int) -> None:
    if frames < LEAST_FRAMES:
        raise ValueError(f"{metric.card.name} needs clips of at least {LEAST_FRAMES} frames, not {frames}.")
    if frames != 16:
        name, protocol = f"{metric.card.name}-{frames}f", metric.card.protocol.replace("16 frames", f"{frames} frames")
        metric.card = replace(metric.card, name=name, protocol=protocol, clip_frames=frames)
