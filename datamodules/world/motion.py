"""How a portrait moves: tracks in continuous time, each a smooth function that any frame rate can sample."""

from dataclasses import dataclass

import numpy as np

from datamodules.world.expression import NAMES
from datamodules.world.geometry import Array
from datamodules.world.seeds import generators

LIMITS = np.radians([45.0, 20.0, 15.0])  # yaw, pitch, roll
SHIFT = np.array([0.014, 0.010, 0.018])  # translation, metres


@dataclass(frozen=True)
class Moment:
    """A face's state at one time.

    Args:
        angles: Yaw (positive turns the face to the picture's right), pitch (positive looks up), roll; radians.
        shift: Translation in the world, metres.
        expression: ``E`` strengths in [0, 1].
        gaze: Yaw and pitch of the eyes against the head, radians.
    """

    angles: Array
    shift: Array
    expression: Array
    gaze: Array


def _ease(t: Array) -> Array:
    """The minimum-jerk step (Flash and Hogan 1985): its speed and acceleration vanish at both ends."""
    t = np.clip(t, 0, 1)
    return t**3 * (10 - 15 * t + 6 * t**2)


class Steps:
    """A value that rests at targets and moves between them in minimum-jerk steps."""

    def __init__(
        self, rng: np.random.Generator, span: float, hold: tuple[float, float], move: tuple[float, float], size: int
    ) -> None:
        self.starts, self.lengths, self.targets = [-1.0], [0.5], [rng.uniform(-1, 1, size)]
        clock = rng.uniform(-0.5, 0.3)
        while clock < span:
            self.starts.append(clock)
            self.lengths.append(rng.uniform(*move))
            self.targets.append(rng.uniform(-1, 1, size))
            clock += self.lengths[-1] + rng.uniform(*hold)

    def __call__(self, time: float) -> Array:
        """The value at a time in seconds, each component in [-1, 1]."""
        share = _ease((time - np.array(self.starts)) / np.array(self.lengths))
        targets = np.array(self.targets)
        return targets[0] + (share[1:, None] * np.diff(targets, axis=0)).sum(0)


class Pulses:
    """Bumps of random height and width at random times: blinks, syllables, passing expressions."""

    def __init__(
        self, rng: np.random.Generator, span: float, gap: tuple[float, float], width: tuple[float, float], low: float
    ) -> None:
        self.centres, self.widths, self.heights = [], [], []
        clock = rng.uniform(0.1, gap[1])
        while clock < span + width[1]:
            self.centres.append(clock)
            self.widths.append(rng.uniform(*width))
            self.heights.append(rng.uniform(low, 1))
            clock += rng.uniform(*gap)

    def __call__(self, time: float) -> float:
        """The height in [0, 1] at a time in seconds."""
        offset = np.abs(time - np.array(self.centres)) / (0.5 * np.array(self.widths))
        return float((np.array(self.heights) * (1 - _ease(offset))).max(initial=0.0))


class Motion:
    """One clip's motion, a pure function of its seed and the time.

    Args:
        seed: Seed of the clip's motion.
        span: Seconds that must be covered; a longer span keeps the beginning.
    """

    def __init__(self, seed: np.random.SeedSequence, span: float) -> None:
        rngs = generators(seed, 12)
        style = rngs[0]
        self.amplitude = LIMITS * style.uniform((0.55, 0.4, 0.3), (1.0, 0.9, 0.8))
        self.talk, self.mood = style.uniform(0.0, 0.75), style.uniform(0, 0.4)
        self.sway = style.uniform(0.15, 0.6, (6,)), style.uniform(0, 6.28, (6,))
        self.turns = Steps(rngs[1], span, (0.05, 0.7), (0.5, 1.3), 3)
        self.saccades = Steps(rngs[2], span, (0.25, 1.2), (0.05, 0.09), 2)
        self.blinks = Pulses(rngs[3], span, (0.8, 4.5), (0.18, 0.28), 1.0)  # about one in three seconds
        self.syllables = Pulses(rngs[4], span, (0.17, 0.32), (0.20, 0.34), 0.25)
        self.shapes = Steps(rngs[5], span, (0.02, 0.15), (0.12, 0.25), 2)
        self.phrases = Steps(rngs[6], span, (0.6, 2.0), (0.2, 0.4), 1)
        self.events = {
            "smile": Pulses(rngs[7], span, (1.2, 3.0), (1.0, 2.2), 0.5),
            "frown": Pulses(rngs[8], span, (2.5, 6.0), (0.8, 1.6), 0.4),
            "raise": Pulses(rngs[9], span, (1.0, 2.6), (0.5, 1.2), 0.4),
            "furrow": Pulses(rngs[10], span, (1.5, 4.0), (0.6, 1.4), 0.4),
            "wide": Pulses(rngs[11], span, (2.0, 5.0), (0.6, 1.4), 0.5),
        }

    def __call__(self, time: float) -> Moment:
        """The state at a time in seconds."""
        rates, phases = self.sway
        sway = np.sin(2 * np.pi * rates * time + phases)
        angles = self.amplitude * (0.88 * self.turns(time) + 0.12 * sway[:3])
        gaze = np.radians([24, 10]) * self.saccades(time) - np.clip(angles[:2] * [0.35, 0.3], -0.35, 0.35)
        return Moment(angles, SHIFT * sway[3:], self._expression(time), gaze)

    def _expression(self, time: float) -> Array:
        event = {name: pulses(time) for name, pulses in self.events.items()}
        talking = self.talk * float(_ease(0.5 + 0.9 * self.phrases(time))[0])
        syllable, (width, round_) = talking * self.syllables(time), self.shapes(time)
        smile = np.clip(self.mood + 0.9 * event["smile"] - 0.5 * event["frown"], 0, 1)
        blink = self.blinks(time)
        strengths = {
            "jaw_open": 0.85 * syllable + 0.75 * event["wide"] ** 2,
            "blink_right": blink, "blink_left": blink,
            "squint": 0.4 * event["furrow"],
            "smile_right": smile * (1 - 0.12 * width), "smile_left": smile * (1 + 0.12 * width),
            "frown": event["frown"],
            "pucker": talking * np.clip(round_, 0, 1) * 0.8,
            "upper_lip_raise": 0.55 * syllable + 0.35 * smile * event["smile"],
            "lower_lip_drop": 0.6 * syllable,
            "brow_raise_right": event["raise"], "brow_raise_left": event["raise"] * (0.8 + 0.2 * width),
            "brow_furrow": event["furrow"],
            "cheek_puff": 0.0,
        }  # fmt: skip
        return np.clip([strengths[name] for name in NAMES], 0, 1)
