"""How a portrait moves: tracks in continuous time, each a smooth function that any frame rate can sample."""

from dataclasses import dataclass

import numpy as np

from datamodules.world.body.expression import strengths
from datamodules.world.body.geometry import Array
from datamodules.world.seeds import generators

LIMITS = np.radians([45.0, 20.0, 15.0])  # yaw, pitch, roll
SHIFT = np.array([0.014, 0.010, 0.018])  # translation, metres
SACCADE = np.radians([24.0, 10.0])  # yaw, pitch
CONVERGENCE = 0.035  # radians that each eye turns in: both look at something about a metre away


@dataclass(frozen=True)
class Moment:
    """A face's state at one time.

    Args:
        angles: Yaw (positive turns the face to the picture's right), pitch (positive looks up), roll; radians.
        shift: Translation in the world, metres.
        expression: ``25`` strengths in [0, 1], in [-1, 1] where signed; in the order of `expression.NAMES`.
        gaze: Right yaw, right pitch, left yaw, left pitch of the eyes against the head, radians.
    """

    angles: Array
    shift: Array
    expression: Array
    gaze: Array


def _ease(t: Array) -> Array:
    """The minimum-jerk step (Flash and Hogan 1985): its speed and acceleration vanish at both ends."""
    t = np.minimum(np.maximum(t, 0), 1)  # np.clip costs three times as much on a few numbers
    return t**3 * (10 - 15 * t + 6 * t**2)


def _either(first: float, second: float) -> float:
    """The smooth union of two strengths in [0, 1]."""
    return 1 - (1 - first) * (1 - second)


class Steps:
    """A value that rests at targets and moves between them in minimum-jerk steps.

    Args:
        rng: What draws the targets and the times.
        span: Seconds to cover.
        hold: Shortest and longest rest, seconds.
        move: Shortest and longest step, seconds.
        size: Number of components.
        swing: Whether the targets change sign from step to step, as syllables open and close a mouth.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        span: float,
        hold: tuple[float, float],
        move: tuple[float, float],
        size: int,
        swing: bool = False,
    ) -> None:
        starts, lengths, targets = [-1.0], [0.5], [rng.uniform(-1, 1, size)]
        clock = rng.uniform(-0.5, 0.3)
        while clock < span:
            starts.append(clock)
            lengths.append(rng.uniform(*move))
            targets.append(rng.uniform(-1, 1, size))
            clock += lengths[-1] + rng.uniform(*hold)
        self.starts, self.lengths, self.targets = np.array(starts), np.array(lengths), np.array(targets)
        if swing:
            self.targets = (0.3 + 0.7 * np.abs(self.targets)) * (-1.0) ** np.arange(len(starts))[:, None]
        self.steps = np.diff(self.targets, axis=0)
        self.at, self.scale = self.starts[1:], self.lengths[1:]

    def __call__(self, time: float) -> Array:
        """The value at a time in seconds, each component in [-1, 1]."""
        return self.eased(_ease((time - self.at) / self.scale))

    def eased(self, share: Array) -> Array:
        """The value when so much of every step is done."""
        return self.targets[0] + share @ self.steps


class Pulses:
    """Bumps of random height and width at random times: blinks and passing expressions.

    Args:
        rng: What draws them.
        span: Seconds to cover.
        gap: Shortest and longest time between two, seconds; with ``poisson`` the shortest, and the mean beyond it.
        width: Shortest and longest bump from foot to foot, seconds; at half its height it is half as wide.
        low: The lowest bump; the highest is one.
        poisson: Whether the gaps are those of a Poisson process with dead time.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        span: float,
        gap: tuple[float, float],
        width: tuple[float, float],
        low: float,
        poisson: bool = False,
    ) -> None:
        centres, widths, heights = [], [], []
        clock = rng.uniform(0.1, gap[1])
        while clock < span + width[1]:
            centres.append(clock)
            widths.append(rng.uniform(*width))
            heights.append(rng.uniform(low, 1))
            clock += gap[0] + rng.exponential(gap[1]) if poisson else rng.uniform(*gap)
        self.centres, self.widths, self.heights = np.array(centres), np.array(widths), np.array(heights)
        self.at, self.scale = self.centres, 0.5 * self.widths

    def __call__(self, time: float) -> float:
        """The height in [0, 1] at a time in seconds; where bumps overlap, their smooth union."""
        return self.eased(_ease(np.abs(time - self.at) / self.scale))

    def eased(self, share: Array) -> float:
        """The height when so much of the way from every bump's top to its foot is gone."""
        return float(1 - np.multiply.reduce(1 - self.heights * (1 - share)))


class PortraitMotion:
    """One clip's motion, a pure function of its seed and the time.

    Args:
        seed: Seed of the clip's motion.
        span: Seconds that must be covered; a longer span keeps the beginning.
    """

    def __init__(self, seed: np.random.SeedSequence, span: float) -> None:
        rngs = generators(seed, 13)
        style = rngs[0]
        self.amplitude = LIMITS * style.uniform((0.55, 0.4, 0.3), (1.0, 0.9, 0.8))
        self.talk, self.mood = style.uniform(0.0, 0.75), style.uniform(0, 0.4)
        self.sway = style.uniform(0.15, 0.6, (6,)), style.uniform(0, 6.28, (6,))
        self.turns = Steps(rngs[1], span, (0.05, 0.7), (0.5, 1.3), 3)
        self.saccades = Steps(rngs[2], span, (0.25, 1.2), (0.08, 0.12), 2)
        self.blinks = Pulses(rngs[3], span, (0.4, 3.6), (0.26, 0.34), 1.0, poisson=True)
        self.syllables = Steps(rngs[4], span, (0.0, 0.015), (0.085, 0.155), 1, swing=True)  # 3 to 6 a second
        self.shapes = Steps(rngs[5], span, (0.02, 0.15), (0.12, 0.25), 2)
        self.phrases = Steps(rngs[6], span, (0.6, 2.0), (0.2, 0.4), 1)
        self.events = {
            "smile": Pulses(rngs[7], span, (1.2, 3.0), (1.0, 2.2), 0.5),
            "frown": Pulses(rngs[8], span, (2.5, 6.0), (0.8, 1.6), 0.4),
            "raise": Pulses(rngs[9], span, (1.0, 2.6), (0.5, 1.2), 0.4),
            "furrow": Pulses(rngs[10], span, (1.5, 4.0), (0.6, 1.4), 0.4),
            "gape": Pulses(rngs[11], span, (2.0, 5.0), (0.6, 1.4), 0.5),
            "press": Pulses(rngs[12], span, (2.0, 6.0), (0.4, 1.0), 0.4),
        }
        steps: dict[str, Steps | Pulses] = {
            name: getattr(self, name) for name in ("turns", "saccades", "syllables", "shapes", "phrases")
        }
        tracks = steps | {"blinks": self.blinks} | self.events
        self._at, self._scale = (
            np.concatenate([getattr(t, name) for t in tracks.values()]) for name in ("at", "scale")
        )
        ends = np.cumsum([0, *(len(track.at) for track in tracks.values())]).tolist()
        self._places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(tracks)}
        self._pulses = ends[len(steps)]  # where the bumps begin, whose time counts both ways

    def __call__(self, time: float) -> Moment:
        """The state at a time in seconds."""
        rates, phases = self.sway
        sway, shares = np.sin(2 * np.pi * rates * time + phases), self._shares(time)
        angles = self.amplitude * (0.88 * self.turns.eased(shares["turns"]) + 0.12 * sway[:3])
        look = SACCADE * self.saccades.eased(shares["saccades"])
        yaw, pitch = look - [0.35, 0.3] * angles[:2]  # eyes stay on what they look at
        gaze = np.array([yaw + CONVERGENCE, pitch, yaw - CONVERGENCE, pitch])
        return Moment(angles, SHIFT * sway[3:], self._expression(shares), gaze)

    def _shares(self, time: float) -> dict[str, Array]:
        """For each track how far its steps or bumps are at a time in seconds: all at once, for each is short."""
        offset = time - self._at
        np.abs(offset[self._pulses :], out=offset[self._pulses :])
        eased = _ease(offset / self._scale)
        return {name: eased[place] for name, place in self._places.items()}

    def speech(self, time: float) -> float:
        """How far speech opens the mouth at a time in seconds, in [0, 1]."""
        return self._speech(self._shares(time))

    def _speech(self, shares: dict[str, Array]) -> float:
        talking = self.talk * float(_ease(0.5 + 0.9 * self.phrases.eased(shares["phrases"]))[0])
        return talking * float(0.5 + 0.5 * self.syllables.eased(shares["syllables"])[0])

    def _expression(self, shares: dict[str, Array]) -> Array:
        event = {name: pulses.eased(shares[name]) for name, pulses in self.events.items()}
        voice, (width, round_) = self._speech(shares), self.shapes.eased(shares["shapes"])
        rounded, press = self.talk * (0.5 + 0.5 * round_), event["press"]
        smile = (self.mood + 0.48 * event["smile"]) * (1 - 0.5 * event["frown"])
        blink, lifted = self.blinks.eased(shares["blinks"]), 0.85 * event["raise"]
        lip, squint = _either(0.5 * voice, 0.4 * smile * event["smile"]), 0.4 * event["furrow"]
        wide = 0.3 * _either(event["raise"], event["gape"])
        named = {
            "jaw_open": _either(0.8 * voice, 0.75 * event["gape"] ** 2), "jaw_side": 0.15 * self.talk * width,
            "smile_right": smile * (1 - 0.12 * width), "smile_left": smile * (1 + 0.12 * width),
            "frown_right": 0.9 * event["frown"], "frown_left": 0.9 * event["frown"],
            "pucker": 0.7 * rounded**2, "funnel": 0.7 * rounded * voice,
            "lip_roll_upper": 0.7 * press, "lip_roll_lower": 0.8 * press, "cheek_puff": 0.25 * press,
            "upper_lip_raise_right": lip, "upper_lip_raise_left": lip,
            "brow_in": lifted, "brow_out_right": lifted, "brow_out_left": lifted * (0.85 + 0.15 * width),
            "brow_down_right": event["furrow"], "brow_down_left": event["furrow"],
            "blink_right": blink, "blink_left": blink, "wide_right": wide, "wide_left": wide,
            "squint_right": squint, "squint_left": squint, "nose_wrinkle": 0.35 * event["furrow"] * event["frown"],
        }  # fmt: skip
        return strengths(**named)
