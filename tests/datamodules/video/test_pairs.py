import logging
import unicodedata

import pytest
from PIL import Image

from datamodules.base import DataError
from datamodules.video.clips import Clip, find_clips
from datamodules.video.pairs import ClipFinder, Pair, cross_pairs, read_pairs, self_pairs, write_pairs


@pytest.fixture
def finder(faces):
    return ClipFinder(find_clips(faces / "test"), faces / "targets")


@pytest.fixture
def clips(faces):
    return find_clips(faces / "test")


def listed(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "entry",
    [
        "id8#v#000#040.mp4",
        "id8#v#000#040",
        "/data/author/vox/test/id8#v#000#040.mp4",
        "D:\\vox\\test\\id8#v#000#040.mp4",
        "./elsewhere/id8#v#000#040.mov",
    ],
)
def test_paths_of_other_machines_are_found(finder, clips, entry):
    assert finder.find(entry) == (clips[0], None)


def test_a_path_may_name_a_frame(finder, clips):
    assert finder.find("/data/author/test/id9#v#000#040.mp4/0000012.png") == (clips[1], 12)
    with pytest.raises(DataError, match=r"frame 40 of a clip of 40, 'id9#v#000#040.mp4'"):
        finder.find("/data/author/test/id9#v#000#040.mp4/0000040.png")
    with pytest.raises(DataError, match=r"there is no clip '.*id7#v#000#040.mp4/0000001.png'"):
        finder.find("/data/author/test/id7#v#000#040.mp4/0000001.png")


def test_a_name_that_two_clips_bear_needs_its_folder(tmp_path, write_clip):
    clips = [Clip(write_clip(tmp_path / person / "00001", 2)) for person in ("ann", "bob")]
    finder = ClipFinder(clips, tmp_path)
    with pytest.raises(DataError, match="several clips are called '00001'"):
        finder.find("00001")
    assert finder.find("/x/bob/00001.mp4") == (clips[1], None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_with_one_source_become_one_pair(tmp_path, finder, clips, encoding, end):
    name = "/data/author/id8#v#000#040.mp4"
    rows = ["source,driving", f"{name}/0000003.png,{name}/0000020.png", f"{name}/0000003.png,{name}/0000005.png"]
    text = end.join([*rows, rows[-1], f"{name}/0000004.png,{name}/0000005.png", ""])
    assert read_pairs(listed(tmp_path, text, encoding), finder) == [
        Pair(clips[0], clips[0], 3, (5, 20)),
        Pair(clips[0], clips[0], 4, (5,)),
    ]


def test_targets_are_clips_of_their_own(tmp_path, faces, finder, clips, write_clip):
    target = write_clip(faces / "targets" / "id8__id9.mp4", 40)
    text = "source,driving,target\nid8#v#000#040.mp4,id9#v#000#040.mp4,id8__id9.mp4\nid9#v#000#040,id8#v#000#040,\n"
    assert read_pairs(listed(tmp_path, text), finder) == [
        Pair(clips[0], clips[1], target=Clip(target)),
        Pair(clips[1], clips[0]),
    ]


def test_what_is_not_there_is_an_error_unless_allowed(tmp_path, finder, clips, caplog):
    path = listed(tmp_path, "source,driving\nid8#v#000#040,id9#v#000#040\nid8#v#000#040,id7#gone\n")
    with pytest.raises(DataError, match=r"1 of 2 pairs \(50.0%\).*id7#gone.*allow_partial"):
        read_pairs(path, finder)
    with caplog.at_level(logging.INFO):
        assert read_pairs(path, finder, allow_partial=True) == [Pair(clips[0], clips[1])]
    assert "1 of 2 pairs (50.0%)" in caplog.text


@pytest.mark.parametrize(
    ("columns", "cells", "reason"),
    [
        ("source,driving,frame", "id8#v#000#040,id9#v#000#040,99", "frame 99 of a clip of 40, 'id8#v#000#040.mp4'"),
        (
            "source,driving,best_frame",
            "id8#v#000#040,id9#v#000#040,40",
            "frame 40 of a clip of 40, 'id9#v#000#040.mp4'",
        ),
        ("source,driving", "id8#v#000#040,id9#v#000#040/0000077.png", "frame 77 of a clip of 40"),
        ("source,driving", "id8#v#000#040,id9#v#000#040/7_of_9.png", "does not tell its frame's number"),
        ("source,driving,target", "id8#v#000#040,id9#v#000#040,gone.mp4", "there is no target 'gone.mp4'"),
        ("source,driving", "id8#v#000#040,id7#gone", "there is no clip 'id7#gone'"),
    ],
)
def test_the_true_reason_of_the_first_absent_row_is_told(tmp_path, finder, clips, columns, cells, reason):
    text = f"{columns}\nid8#v#000#040,id9#v#000#040{',' * (columns.count(',') - 1)}\n\n{cells}\n"
    with pytest.raises(DataError, match=f"1 of 2 pairs .* are there; line 4: .*{reason}"):
        read_pairs(listed(tmp_path, text), finder)
    assert read_pairs(listed(tmp_path, text), finder, allow_partial=True) == [Pair(clips[0], clips[1])]


def test_a_self_list_that_pairs_two_people_is_refused(tmp_path, finder, clips):
    two = listed(tmp_path, "source,driving\nid8#v#000#040,id8#v#000#040\nid8#v#000#040,id9#v#000#040\n")
    assert len(read_pairs(two, finder)) == 2
    with pytest.raises(DataError, match="line 3 pairs two people, 'id8' and 'id9': that is no self-reenactment"):
        read_pairs(two, finder, same_person=True)


def test_frames_asked_for_twice_with_other_motion_are_refused(tmp_path, finder):
    row = "id8#v#000#040,id9#v#000#040"
    with pytest.raises(DataError, match="asks twice for 'id8#v#000#040' driven by 'id9#v#000#040'"):
        read_pairs(listed(tmp_path, f"source,driving,best_frame\n{row},1\n{row},2\n"), finder)
    apart = f"source,driving,best_frame\n{row}/0000001.png,1\n{row}/0000002.png,2\n"
    assert [pair.frames for pair in read_pairs(listed(tmp_path, apart), finder)] == [(1,), (2,)]


def test_names_are_compared_in_one_unicode_form(tmp_path, write_clip):
    composed, decomposed = (unicodedata.normalize(form, "idé#v") for form in ("NFC", "NFD"))
    assert composed != decomposed
    clips = [Clip(write_clip(tmp_path / "test" / f"{decomposed}.mp4", 2))]
    target = write_clip(tmp_path / "targets" / decomposed, 2)
    (pair,) = read_pairs(
        listed(tmp_path, f"source,driving,target\n{composed}.mp4,x/{composed}/0000001.png,{composed}.mp4\n"),
        ClipFinder(clips, tmp_path / "targets"),
    )
    assert pair == Pair(clips[0], clips[0], frames=(1,), target=Clip(target))
    assert clips[0].person == "id\u00e9"


def test_a_frame_of_a_list_is_found_by_the_name_or_the_number_of_its_file(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (5, 6, 10):
        Image.new("RGB", (4, 4)).save(folder / f"frame_{number:04d}_64.png")
    finder = ClipFinder([Clip(folder)], tmp_path)
    for entry, index in (("clip/frame_0006_64.jpg", 1), ("clip/10.png", 2), ("clip/0000005.png", 0)):
        assert finder.find(entry) == (Clip(folder), index)
    with pytest.raises(DataError, match="frame 64 of a clip of 3"):
        finder.find("clip/64.png")


def test_a_list_of_which_nothing_is_there_is_always_an_error(tmp_path, finder):
    with pytest.raises(DataError, match="0 of 1 pairs"):
        read_pairs(listed(tmp_path, "source,driving\nid6#gone,id7#gone\n"), finder, allow_partial=True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a,b\n1,2\n", "columns"),
        ("source,driving\n", "at least one row"),
        ("source,driving\nid8#v#000#040,\n", "line 2 needs both"),
        ("source,driving\na,b\nid8,part two,id9\n", "line 3 has more cells"),
        ("source,driving,frame\nid8#v#000#040,id9#v#000#040,first\n", "line 2: 'first' is no frame index"),
        ("source,driving,frame\nid8#v#000#040,id9#v#000#040,-1\n", "line 2: '-1' is no frame index"),
        ("source,driving,best_frame\nid8#v#000#040,id9#v#000#040,1.0\n", "line 2: '1.0' is no frame index"),
        ("source,driving,best_frame\nid8#v#000#040,id9#v#000#040,²\n", "line 2: '²' is no frame index"),
        (
            "source,driving,best_frame\nid8#v#000#040,id9#v#000#040,id8#v#000#040/0000003.png\n",
            "no frame of the driving",
        ),
        (
            "source,driving,frame\nid8#v#000#040/0000003.png,id9#v#000#040,5\n",
            "line 2: frame 5 of the column frame is not",
        ),
    ],
)
def test_what_is_no_list_is_said(tmp_path, finder, text, word):
    with pytest.raises(DataError, match=word):
        read_pairs(listed(tmp_path, text), finder)


def test_a_missing_list_is_named(tmp_path, finder):
    with pytest.raises(DataError, match=r"no pair list.*gone\.csv"):
        read_pairs(tmp_path / "gone.csv", finder)


def test_a_list_that_is_written_is_read_back(tmp_path, faces, finder, clips, write_clip):
    target = Clip(write_clip(faces / "targets" / "t.mp4", 3))
    pairs = [
        Pair(clips[0], clips[1], 2, target=target, best_frame=3),
        Pair(clips[1], clips[1], 0, (3, 17)),
        Pair(clips[1], clips[0]),
    ]
    write_pairs(tmp_path / "new" / "pairs.csv", pairs)
    assert read_pairs(tmp_path / "new" / "pairs.csv", finder) == pairs


def test_drawn_pairs_cross_people(tmp_path, write_clip):
    clips = [Clip(write_clip(tmp_path / f"id{i % 4}#v{i}", 2)) for i in range(12)]
    drawn = cross_pairs(clips, seed=3)
    assert [pair.driving for pair in drawn] == clips
    assert all(pair.source.person != pair.driving.person for pair in drawn)
    assert drawn == cross_pairs(clips, seed=3)
    assert drawn != cross_pairs(clips, seed=4)
    assert [(p.source, p.driving) for p in self_pairs(clips)] == [(c, c) for c in clips]


def test_one_person_cannot_be_crossed(tmp_path, write_clip):
    with pytest.raises(DataError, match="one person"):
        cross_pairs([Clip(write_clip(tmp_path / f"id0#v{i}", 2)) for i in range(3)], seed=0)
