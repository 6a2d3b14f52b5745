"""Motion: one continuous track at any frame rate, within human bounds, without drift."""

import numpy as np
import pytest

from datamodules.world.body.expression import NAMES, SIGNED
from datamodules.world.scene.motion import CONVERGENCE, LIMITS, SHIFT, Moment, PortraitMotion


def motion(number: int, span: float = 30.0) -> PortraitMotion:
    return PortraitMotion(np.random.SeedSequence(3, spawn_key=(number,)), span)


def sampled(track: PortraitMotion, times: np.ndarray) -> dict[str, np.ndarray]:
    moments = [track(float(time)) for time in times]
    return {name: np.stack([getattr(m, name) for m in moments]) for name in Moment.__dataclass_fields__}


def test_every_frame_rate_samples_one_track():
    track, other = motion(0, 4.0), motion(0, 9.0)
    for first, second in ((24, 30), (25, 50), (30000 / 1001, 60000 / 1001)):
        ratio = second / first
        for frame in (4, 8, 40):
            a, b = track(frame / first), other(frame * ratio / second)
            for name in Moment.__dataclass_fields__:
                assert np.allclose(getattr(a, name), getattr(b, name), atol=1e-9)


@pytest.mark.parametrize("fps", [24, 25, 30000 / 1001, 30, 50])
def test_neighbouring_frames_are_near(fps: float):
    track = sampled(motion(1, 6.0), np.arange(int(6 * fps)) / fps)
    assert np.abs(np.diff(track["angles"], axis=0)).max() < np.radians(340) / fps
    assert np.abs(np.diff(track["shift"], axis=0)).max() < 0.08 / fps


def test_motion_is_smooth_and_stays_within_its_limits():
    step = 1e-3
    for number in range(3):
        times = np.arange(0, 8, 0.05)
        triples = [sampled(motion(number, 8.0), times + k * step) for k in (-1, 0, 1)]
        for name, speed, acceleration in (
            ("angles", np.radians(340), np.radians(2600)), ("shift", 0.08, 0.4),
            ("gaze", np.radians(1100), np.radians(45000)), ("expression", 22, 900),
        ):  # fmt: skip
            before, now, after = (triple[name] for triple in triples)
            assert np.abs(after - before).max() / (2 * step) < speed
            assert np.abs(after - 2 * now + before).max() / step**2 < acceleration  # a corner would give far more
        assert (np.abs(triples[1]["angles"]) <= LIMITS + 1e-9).all()
        assert (np.abs(triples[1]["shift"]) <= SHIFT + 1e-9).all()


def test_strengths_stay_in_their_ranges_and_all_but_few_are_used():
    used = np.zeros(25)
    for number in range(6):
        expression = sampled(motion(number, 20.0), np.arange(0, 20, 0.05))["expression"]
        low = np.array([-1.0 if name in SIGNED else 0.0 for name in NAMES])
        assert (expression >= low).all()
        assert (expression <= 1).all()
        used = np.maximum(used, np.abs(expression).max(0))
    assert (used > 0.08).all()
    assert np.median(used) > 0.5


def test_blinks_come_at_a_human_rate_and_last_as_long():
    step, counts, widths = 0.01, [], []
    for number in range(12):
        blinks = motion(number, 60.0).blinks
        closed = np.array([blinks(time) for time in np.arange(0, 60, step)]) > 0.5
        counts.append((np.diff(closed.astype(int)) == 1).sum())
        widths.append(closed.sum() * step / max(counts[-1], 1))
    assert 0.18 < np.mean(counts) / 60 < 0.32  # a second
    assert 0.13 < np.mean(widths) < 0.17  # seconds at half height
    assert 0.5 < np.var(counts) / np.mean(counts) < 1.6  # near one: Poisson


def test_speech_lies_in_the_band_of_syllables():
    rate = 50
    power, total = 0.0, 0.0
    for number in range(6):
        syllables = motion(number, 20.0).syllables
        wave = np.array([syllables(time)[0] for time in np.arange(0, 20, 1 / rate)])
        spectrum = np.abs(np.fft.rfft((wave - wave.mean()) * np.hanning(len(wave)))) ** 2
        frequency = np.fft.rfftfreq(len(wave), 1 / rate)
        power += spectrum[(frequency >= 3) & (frequency <= 6)].sum()
        total += spectrum.sum()
        assert 3 < frequency[spectrum.argmax()] < 6
    assert power / total > 0.75


def test_a_talking_mouth_follows_its_speech():
    track = max((motion(number, 20.0) for number in range(8)), key=lambda m: m.talk)
    times = np.arange(0, 20, 0.02)
    voice = np.array([track.speech(time) for time in times])
    jaw = sampled(track, times)["expression"][:, NAMES.index("jaw_open")]
    assert voice.max() > 0.4
    assert np.corrcoef(voice, jaw)[0, 1] > 0.6


def test_people_look_around_and_turn_without_drift():
    times = np.arange(0, 60, 0.1)
    means, yaw = [], []
    for number in range(6):
        track = sampled(motion(number, 60.0), times)
        half = len(times) // 2
        means.append(track["angles"][half:].mean(0) - track["angles"][:half].mean(0))
        assert np.degrees(np.ptp(track["gaze"][:, 0])) > 15
        assert np.allclose(track["gaze"][:, 0] - track["gaze"][:, 2], 2 * CONVERGENCE)
        assert np.abs(track["shift"].mean(0)).max() < 0.25 * SHIFT.max()
        yaw.append(np.ptp(track["angles"][:, 0]))
    assert np.abs(np.mean(means, axis=0)).max() < np.radians(8)
    assert np.degrees(np.mean(yaw)) > 40
