"""The picture of the median and the worst videos: the right strips of the right rows, and none where runs left none."""

import numpy as np
from PIL import Image

from benchmarks.evaluation import strips
from benchmarks.report.collect import collect
from benchmarks.report.ends import GAP, LEFT, draw_ends, picture_file
from benchmarks.report.results import Place
from benchmarks.report.sheets import assemble

COLOURS = {f"v{i}": (20 * i, 255 - 20 * i, 128) for i in range(12)}


def leave_strips(folder, row):
    for video, colour in COLOURS.items():
        path = strips.file(folder, video)
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64 if row != "far" else 48, 16), colour).save(path, quality=95)


def test_runs_without_strips_have_no_picture(table, runs, tmp_path):
    runs = {Place(*place): folder for place, folder in runs.items()}
    assert draw_ends(assemble(table, *collect(runs)), runs, tmp_path) == []
    assert not list(tmp_path.glob("*.jpg"))


def test_each_row_shows_its_median_and_its_worst(table, runs, tmp_path):
    for place, folder in runs.items():
        if place[0] not in ("copy", "absent") and place[2] > 0:  # of the first fit no strips are here
            leave_strips(folder, place[0])
    runs = {Place(*place): folder for place, folder in runs.items()}
    sheet = assemble(table, *collect(runs))
    (path,) = draw_ends(sheet, runs, tmp_path)
    assert path == picture_file(tmp_path, "small", "self")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=int)
    shown = ["ours_1", "near <b>", "far"]  # not the row without strips, nor one that was not run
    assert pixels.shape == (len(shown) * (16 + GAP), LEFT + 2 * (64 + GAP), 3)
    for number, row in enumerate(shown):
        for place, score in enumerate(sheet.extremes[row, 0]):
            pixel = pixels[number * (16 + GAP) + 8, LEFT + place * (64 + GAP) + 20]
            assert np.abs(pixel - COLOURS[score.video]).max() < 8
