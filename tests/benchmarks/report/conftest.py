import pytest

from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import write
from tests.benchmarks.report.made_up import CONTENT, ERRORS, SEEDS, leave_run


@pytest.fixture(scope="module")
def table():
    return spec.parse(CONTENT)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for row in ERRORS:
        for seed in SEEDS:
            leave_run(root / f"{row}-{seed}", row, seed)
    return {(row, "self", seed): root / f"{row}-{seed}" for row in [*ERRORS, "absent"] for seed in SEEDS}


@pytest.fixture(scope="module")
def scores(table, runs):
    return collect(runs)[0]


@pytest.fixture
def written(table, runs, tmp_path):
    scores, provenance = collect(runs)
    folder = tmp_path / "results/runs/tables/tiny"
    write(table, scores, provenance | {"scale": "tiny"}, folder)
    return folder
