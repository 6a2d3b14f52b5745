"""A small table, and what runs of its rows leave."""

import json

import numpy as np
import pandas as pd

from benchmarks.report.spec import Claim

CONTENT = {
    "title": "Made up & small",
    "base": "dagan",
    "tests": {"self": {"task": "self_reenactment", "motion": "absolute"}},
    "columns": [{"test": "self", "metric": "L1"}, {"test": "self", "metric": "PSNR"}],
    "rows": [
        {"name": "ours_1", "configs": [], "kind": "method"},
        {"name": "near <b>", "configs": [], "kind": "method"},
        {"name": "far", "configs": [], "kind": "method"},
        {"name": "copy", "configs": [], "kind": "reference"},
        {"name": "absent", "configs": [], "kind": "reference"},
    ],
    "claims": [
        {"text": "ours beats far", "better": "ours_1", "worse": "far", "test": "self", "metric": "L1"},
        {"text": "ours beats near", "better": "ours_1", "worse": "near <b>", "test": "self", "metric": "L1"},
        {"text": "copy beats ours", "better": "copy", "worse": "ours_1", "test": "self", "metric": "PSNR"},
        {"text": "ours beats absent", "better": "ours_1", "worse": "absent", "test": "self", "metric": "L1"},
    ],
    "published": [{"note": "elsewhere", "columns": ["L1 ↓"], "rows": {"ours_1": [0.04], "old": [0.125]}}],
    "note": "Read with care.",
    "name": "small",
}
ERRORS = {"ours_1": 0.0500, "near <b>": 0.0501, "far": 0.0600, "copy": 0.0900}
SEEDS = (0, 1, 2)


def leave_run(folder, row, seed, videos=12, frames=5):
    """What a finished test run leaves; a video's difficulty is shared by all rows, which pairing has to undo."""
    rng = np.random.default_rng([seed, *row.encode()])
    lines = []
    for video in range(videos):
        difficulty = np.random.default_rng(video).normal(0, 0.02)
        for frame in range(frames):
            error = abs(ERRORS[row] + difficulty + rng.normal(0, 0.0005))
            for metric, value in (("L1", error), ("PSNR", -20 * np.log10(error))):
                lines.append((f"v{video}/{frame}", f"v{video}", frame, metric, value, 0))
    folder.mkdir(parents=True)
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    samples = pd.DataFrame(lines, columns=columns)
    samples.to_parquet(folder / "samples.parquet", index=False)
    record = {"commit": "0123456789", "device": "cpu", "versions": {"torch": "2"}, "notes": {"perceptual": "own"}}
    (folder / "metrics.json").write_text(json.dumps(record))
    return samples


def matrix(scores, row, metric="L1"):
    """Scores by seed and video."""
    cell = scores[(scores["row"] == row) & (scores["metric"] == metric)]
    return cell.pivot(index="seed", columns="video_id", values="value").to_numpy()


def moved(scores, row, seed, by, metric="L1"):
    """The scores with those of a row and seed moved."""
    scores = scores.copy()
    scores.loc[(scores["row"] == row) & (scores["seed"] == seed) & (scores["metric"] == metric), "value"] += by
    return scores


def claim(better, worse, metric="L1"):
    return Claim("words", better, worse, "self", metric)
