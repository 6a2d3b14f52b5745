"""Fixtures of the tests of the Scorer."""

import pytest

from benchmarks.report import spec
from metrics.base import Scored


@pytest.fixture
def with_metrics(monkeypatch):
    def use(*metrics):
        listed = [metric if isinstance(metric, Scored) else metric.scored() for metric in metrics]
        monkeypatch.setattr("benchmarks.tasks.self_reenactment.METRICS", listed)
        monkeypatch.setattr(spec, "METRICS", {scored.card.name: scored.card for scored in listed})

    return use
