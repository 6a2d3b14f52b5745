"""Outputs that somebody saved, read beside their truth as test batches; every file is checked as it is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from datamodules.outputs.matching import Match
from datamodules.video.frame_numbers import same_form
from datamodules.video.protocols import chunks
from models.tasks import TaskBatch

Batches = Iterator[tuple[Any, TaskBatch]]


@dataclass(frozen=True)
class Saved:
    """Outputs that somebody saved, with their truth.

    Args:
        batches: Reads outputs and test batches, with the identifiers that a test run gives them.
        files: Each file of the outputs, with the name of the video that it belongs to.
        facts: What decides the column beside the task, such as the motion.
        without: Metrics that this truth cannot have, and why.
        remark: What the user should know of how the two were matched.
        matches: The videos, where there is one folder or file for each.
    """

    batches: Callable[[], Batches]
    files: list[tuple[str, Path]]
    facts: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    matches: list[Match] = field(default_factory=list)

    def check(self) -> None:
        """Reads every file once, before hours are spent on the first.

        Raises:
            UserError: If a file is broken, or a size or value does not fit.
        """
        for _ in self.batches():
            pass

    @property
    def digest(self) -> str:
        """12 hex digits of names and contents of the outputs' files."""
        whole = sha256()
        for video, path in dict.fromkeys(self.files):
            whole.update(f"{video}/{same_form(path.name)}\n".encode())
            whole.update(sha256(path.read_bytes()).digest())
        return whole.hexdigest()[:12]


@dataclass(frozen=True)
class Piece:
    """Some of the frames of a video that are scored.

    Args:
        match: The video.
        places: Which of its scored frames.
        number: Which of the video's pieces it is, from 0.
        sizes: The sizes of the video's true frames that were seen so far.
    """

    match: Match
    places: list[int]
    number: int
    sizes: set[tuple[int, int]]

    @property
    def frames(self) -> list[int]:
        """The indices of the true frames."""
        return [self.match.frames[place] for place in self.places]

    @property
    def positions(self) -> list[int]:
        """Where the outputs hold them."""
        return [self.match.positions[place] for place in self.places]

    def named(self, task: str, sample_ids: list[str]) -> dict[str, Any]:
        """The fields that a batch of any task has."""
        videos = [self.match.truth.name] * len(self.places)
        return {
            "task": task,
            "sample_id": sample_ids,
            "video_id": videos,
            "frame": self.frames,
            "piece": self.number,
        }


def matched(matches: list[Match], read: Callable[[Piece], tuple[Any, TaskBatch]], **more: Any) -> Saved:  # noqa: ANN401 - of `Saved`
    """Outputs of which there is a folder or file for each video, read piece by piece."""
    files = [(match.saved.name, path) for match in matches for path in match.saved.files]
    return Saved(lambda: map(read, _pieces(matches)), files, remark=_remark(matches), matches=matches, **more)


def _pieces(matches: Iterable[Match]) -> Iterator[Piece]:
    for match in matches:
        sizes: set[tuple[int, int]] = set()
        for number, places in enumerate(chunks(range(len(match.frames)))):
            yield Piece(match, places, number, sizes)


def _remark(matches: Iterable[Match]) -> str:
    counted = [match.truth for match in matches if match.counts_from_0]
    if not counted:
        return ""
    first = f"those of '{counted[0].path}' begin at {counted[0].numbers[0]}"
    return f"The outputs' frames are counted from 0, {first}: output 0 is taken for that one, and so on."
