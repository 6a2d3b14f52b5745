import json

import numpy as np

from benchmarks.report.collect import collect
from benchmarks.report.results import Absence, Provenance
from tests.benchmarks.report.made_up import leave_run


def test_collecting_averages_finite_frames_and_counts_the_rest(tmp_path):
    samples = leave_run(tmp_path / "run", "far", 0, videos=2, frames=3)
    psnr = samples.index[(samples["metric"] == "PSNR") & (samples["video_id"] == "v0")]
    samples.loc[psnr, "value"] = [np.inf, 20.0, 30.0]
    samples.loc[psnr, "status"] = [8, 7, 0]
    samples.to_parquet(tmp_path / "run/samples.parquet", index=False)
    runs = {("far", "self", 0): tmp_path / "run", ("copy", "self", 0): tmp_path / "missing"}
    scores, provenance = collect(runs)
    line = scores[(scores["metric"] == "PSNR") & (scores["video_id"] == "v0")].iloc[0]
    assert line[["value", "n_frames", "n_excluded", "n_flagged"]].tolist() == [25.0, 2, 1, 1]
    assert set(scores["row"]) == {"far"}
    facts = {"seeds": "0", "commit": "0123456789", "device": "cpu", "torch": "2", "perceptual": "own"}
    gaps = [Absence("far", "self", "GFLOP", "not counted")]
    assert provenance == Provenance(facts, absent=gaps, runs={"far": {"self": {"0": "run"}}})


def test_provenance_says_where_runs_differ(tmp_path):
    for i, row in enumerate(("far", "copy")):
        leave_run(tmp_path / row, row, 0, videos=1)
        record = {"commit": f"c{i}", "device": "cpu", "versions": {}, "notes": {}}
        (tmp_path / row / "metrics.json").write_text(json.dumps(record))
    _, provenance = collect({("far", "self", 0): tmp_path / "far", ("copy", "self", 0): tmp_path / "copy"})
    assert provenance.facts["commit"] == "c0, c1"
