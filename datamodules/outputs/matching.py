"""Which saved output belongs to which true frame: by the numbers that files bear, never by silent order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from datamodules.outputs.entries import Entry, EntryKind, entries, unread_files
from datamodules.video.protocols import spread
from models.errors import UserError

MOST_DRIFT = 0.1  # of a frame, by which the last frames of two videos of other rates may lie apart


@dataclass(frozen=True)
class Match:
    """A video's saved outputs and its truth.

    Args:
        saved: The outputs.
        truth: What they are scored against.
        frames: Indices of the truth's frames that are scored.
        positions: Where the outputs hold them.
        masks: The masks of the truth; None where it has its own.
        inside: Where the masks hold them.
    """

    saved: Entry
    truth: Entry
    frames: list[int]
    positions: list[int]
    masks: Entry | None = None
    inside: list[int] | None = None

    @property
    def counts_from_0(self) -> bool:
        """Whether the outputs' numbers are indices of frames that bear other numbers."""
        pairs = zip(self.positions, self.frames, strict=True)
        return not self.saved.is_video and any(self.saved.numbers[p] != self.truth.numbers[f] for p, f in pairs)


@dataclass(frozen=True)
class Selection:
    """Which frames of a true video are scored.

    Args:
        max_frames: At most so many, evenly spaced; None for all.
        skipped: The index of the frame that the method was given, which is not scored; None for none.
        option: What names that frame on the command line.
    """

    max_frames: int | None = None
    skipped: int | None = None
    option: str = "--source-frame"

    def of(self, truth: Entry) -> list[int]:
        """The indices of the frames of a true video that are scored.

        Raises:
            UserError: If the frame that is not scored is none of them, or the only one.
        """
        count = len(truth.numbers)
        if self.skipped is not None and count and not 0 <= self.skipped < count:
            none = f"so {self.option} {self.skipped} is none of them; give 0 to {count - 1}"
            raise UserError(f"'{truth.path}' has {count} frames, {none}.")
        if self.skipped is not None and count == 1:
            given = f"has one frame, which the method was given ({self.option} {self.skipped}) and is not scored"
            raise UserError(f"'{truth.path}' {given}; take it out of the truth and of the outputs.")
        return spread([i for i in range(count) if i != self.skipped], self.max_frames)


def manifest(
    predictions: Path, truth: Path | None, kinds: tuple[EntryKind, EntryKind], selection: Selection
) -> list[Match]:
    """Matches videos by name and frames by number; what is scored is complete, and nothing else is there.

    Args:
        predictions: The folder of the outputs.
        truth: The folder of the truth.
        kinds: What the two hold.
        selection: Which frames are scored.

    Raises:
        UserError: In one sentence that says what is missing or extra, or that the rates differ.
    """
    if truth is None:
        raise UserError("Name the folder of what is true with --truth.")
    true = entries(truth, kinds[1])
    frames = {name: selection.of(entry) for name, entry in true.items()}
    saved = _same_videos(entries(predictions, kinds[0]), true, predictions, truth)
    return [_matched(saved[name], true[name], frames[name]) for name in sorted(true)]


def with_masks(matches: Sequence[Match], masks: Path | None, truth: Path) -> list[Match]:
    """The same with masks, where the truth needs them.

    Raises:
        UserError: If they are missing, not complete, or not asked for.
    """
    true = {match.truth.name: match.truth for match in matches}
    needing = [entry for entry in true.values() if not entry.is_exact]
    if masks is None:
        if needing:
            raise UserError("The truth has no masks of its own; name their folder with --masks.")
        return list(matches)
    if len(needing) < len(true):
        raise UserError(f"'{truth}' has masks of its own in its .npz files; leave --masks out.")
    named = _same_videos(entries(masks, "masks"), true, masks, truth)
    return [_masked(match, named[match.truth.name]) for match in matches]


def _masked(match: Match, masks: Entry) -> Match:
    return replace(match, masks=masks, inside=_positions(masks, match.truth, match.frames))


def _same_videos(saved: dict[str, Entry], true: dict[str, Entry], folder: Path, truth: Path) -> dict[str, Entry]:
    """The saved videos, if they are those of the truth."""
    missing, extra = sorted(true.keys() - saved.keys()), sorted(saved.keys() - true.keys())
    if missing or extra:
        told = [f"{len(missing)} of {len(true)} videos are missing ({_some(missing)})"] if missing else []
        told += [f"{len(extra)} are not in '{truth}' ({_some(extra)})"] if extra else []
        clause = f"{', and '.join(told)}{unread_files(folder, next(iter(saved.values())).kind)}"
        raise UserError(f"'{folder}': {clause}; save one folder or file for each video of the truth.")
    return saved


def _matched(saved: Entry, truth: Entry, frames: list[int]) -> Match:
    positions = _positions(saved, truth, frames)
    check_rates(saved, truth)
    return Match(saved, truth, frames, positions)


def _positions(saved: Entry, truth: Entry, frames: Sequence[int]) -> list[int]:
    """Where the outputs hold the truth's frames.

    A file is the frame whose number it bears. Files are counted from 0 instead only if the truth is numbered without
    gaps from elsewhere and one of them bears none of its numbers. A video holds all frames, or those that are scored.

    Raises:
        UserError: If a frame is missing, or one is there that the truth lacks.
    """
    there, true = saved.numbers, truth.numbers
    if not true:
        raise UserError(truth.unread() or f"'{truth.path}' holds no frame; restore it or take it out.")
    if saved.is_video and len(there) in (len(true), len(frames)):
        return list(frames) if len(there) == len(true) else list(range(len(frames)))
    allowed = list(range(len(true))) if _counts_from_0(there, true) else true
    asked = [allowed[i] for i in frames]
    if saved.is_video or not set(asked) <= set(there) <= set(allowed):
        raise UserError(_difference(saved, truth, asked, allowed))
    place = {number: i for i, number in enumerate(there)}
    return [place[number] for number in asked]


def _counts_from_0(there: Sequence[int], true: Sequence[int]) -> bool:
    """Whether numbers can only be indices: all are, and one is no number of a truth that begins elsewhere."""
    indices = range(len(true))
    begins_elsewhere = bool(true) and true[0] != 0 and list(true) == list(range(true[0], true[0] + len(true)))
    return begins_elsewhere and set(there) <= set(indices) and not set(there) <= set(true)


def _difference(saved: Entry, truth: Entry, asked: Sequence[int], allowed: Sequence[int]) -> str:
    if unread := saved.unread():
        return unread
    there = set(saved.numbers)
    missing, extra = sorted(set(asked) - there), sorted(there - set(allowed))
    if saved.is_video:
        counts = f"{len(there)} frames, but '{truth.path}' has {len(allowed)}"
        return f"'{saved.path}' has {counts}, of which {len(asked)} are scored; save either all or those, in order."
    told = [f"lacks {len(missing)} of {len(asked)} frames ({_some(missing)})"] if missing else []
    told += [f"has {len(extra)} that '{truth.path}' lacks ({_some(extra)})"] if extra else []
    others = unread_files(saved.path, saved.kind) if saved.path.is_dir() else ""
    return f"'{saved.path}' {' and '.join(told)}{others}; name each frame by its number in the truth."


def check_rates(saved: Entry, truth: Entry) -> None:
    """Refuses rates that bring the last frame more than `MOST_DRIFT` of a frame out of step."""
    ours, theirs = saved.rate, truth.rate
    if not ours or not theirs:
        return
    drift = (len(truth.numbers) - 1) * abs(theirs / ours - 1)
    if drift > MOST_DRIFT:
        first, second = _told_apart(ours, theirs)
        raise UserError(
            f"'{saved.path}' has {first} frames a second, '{truth.path}' {second}; save it at the truth's rate, or the "
            f"frames as pictures (the last ones lie {float(drift):.2g} of a frame apart)."
        )


def _told_apart(first: Fraction, second: Fraction) -> tuple[str, str]:
    """Two rates with as many digits as show that they differ."""
    told = ((f"{float(first):.{digits}g}", f"{float(second):.{digits}g}") for digits in range(4, 18))
    return next((pair for pair in told if pair[0] != pair[1]), (str(first), str(second)))


def _some(names: Sequence[Any]) -> str:
    return f"{names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
