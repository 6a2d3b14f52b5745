"""Several processes, one of them without a video, one with a padded sampler's repetition: the numbers of one."""

import pytest

from benchmarks.evaluation.scorer import Scorer
from metrics.image import L1, PSNR
from tests.benchmarks.evaluation.scoring import Clipwise, video
from tests.gloo import in_gloo_processes
from tests.toys import ToySetMetric

COUNTS = (4, 6, 4, 3, 5)  # frames of the videos; one is too short for `Clipwise`


@pytest.fixture(autouse=True)
def four_metrics(monkeypatch):
    """One a sample, one with infinities, one of a set, and one of clips."""
    listed = tuple(metric.scored() for metric in (L1, PSNR, ToySetMetric, Clipwise))
    monkeypatch.setattr("benchmarks.tasks.self_reenactment.METRICS", listed)


def scores(videos):
    """What a Scorer makes of some of the videos, which may be none."""
    scorer = Scorer("self_reenactment" if videos else "")
    for i in videos:
        batch = video(f"v{i}", COUNTS[i], seed=i)
        scorer.add(batch.target * (0.9 + 0.02 * i), batch)
    return scorer.finish()


@pytest.mark.parametrize("plan", [[[0, 2], [1, 3, 4, 0]], [[], [0, 1, 2, 3, 4], []]], ids=["padded", "empty ranks"])
def test_processes_score_what_one_scores(plan, tmp_path):
    alone = scores(range(len(COUNTS)))
    assert alone.absent == {"clipwise": "1 of 5 videos under 4 frames"}
    of_all = alone.sets["toy-FD"]
    for one in in_gloo_processes(lambda rank: scores(plan[rank]), len(plan), tmp_path):
        assert one.values == pytest.approx(alone.values, abs=1e-9)
        assert (one.absent, one.truth) == (alone.absent, alone.truth)
        assert one.sets["toy-FD"].value == pytest.approx(of_all.value, abs=1e-9)
        assert one.sets["toy-FD"].n == of_all.n
        assert one.sets["toy-FD"].replicates == pytest.approx(of_all.replicates, abs=1e-9)
