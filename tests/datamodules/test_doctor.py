import os
import shlex

import pytest
from PIL import Image

from datamodules.base import DataError
from datamodules.doctor import main
from datamodules.video.clips import Clip, find_clips
from datamodules.video.frames import VideoFrames
from datamodules.video.splits import split_clips
from tests.datamodules.video.video_makers import set_matrix, write


def test_a_sound_set_is_described(faces, capsys):
    assert main(["--root", str(faces), "--all-frames"]) == 0
    said = capsys.readouterr().out
    assert "train: 3 people, 6 clips, 36 frames; truth of 0 clips" in said
    assert "test: 2 people, 2 clips, 80 frames; truth of 2 clips" in said
    assert "16 x 16 (80 frames looked at)" in said
    assert said.endswith("Nothing is wrong.\n")


def test_every_fault_is_listed(faces, capsys, write_clip):
    write_clip(faces / "train" / "id9#leak#000#002.mp4", 2)
    write_clip(faces / "train" / "id7#short#000#001.mp4", 1)
    (faces / "train" / "id0#v0#000#006.mp4" / "0000003.png").write_bytes(b"no picture")
    (faces / "train" / "id6#broken#000#009.mp4").write_bytes(b"no video")
    (faces / "self_pairs.csv").write_text("source,driving\nid5#gone,id8#v#000#040\n")
    assert main(["--root", str(faces), "--all-frames"]) == 1
    said = capsys.readouterr().out
    for fault in (
        "id9 is in both train and test",
        "id7#short#000#001.mp4' has 1 frames",
        "0000003.png' is not a readable picture",
        "id6#broken#000#009.mp4' is not a readable video",
        "0 of 1 pairs",
        "5 faults.",
    ):
        assert fault in said


def test_what_a_fit_would_refuse_is_said_in_its_words(tmp_path, write_clip, capsys):
    for person in range(2):
        write_clip(tmp_path / "train" / f"id{person}#v", 2, size=(16, 16 + 8 * person))  # sizes are brought to one
    assert main(["--root", str(tmp_path), "--val-people", "2"]) == 1
    said = capsys.readouterr().out
    for sample, sentence in (("pairs", "shows 2 people and 2 are kept for"), ("triplets", "none of its 2 clips has 3")):
        with pytest.raises(DataError, match=sentence) as refused:
            VideoFrames(str(tmp_path), 32, sample=sample, val_people=2).setup("fit")
        assert f"wrong: {refused.value}\n" in said
    for person in range(2):
        write_clip(tmp_path / "train" / f"id{person}#w", 3)
    assert main(["--root", str(tmp_path)]) == 0
    VideoFrames(str(tmp_path), 32, sample="triplets").setup("fit")


def test_a_short_clip_of_the_test_is_not_said_to_be_of_training(faces, write_clip, capsys):
    write_clip(faces / "test" / "id7#short", 1)
    assert main(["--root", str(faces)]) == 1
    assert "id7#short' has 1 frames: it is left out of reenactment." in capsys.readouterr().out


def test_a_file_as_root_is_not_said_to_be_absent(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"set\.zip' is a file: name the folder with train and test"):
        main(["--root", str(tmp_path / "set.zip")])


def test_a_missing_set_is_explained(tmp_path, capsys):
    assert main(["--root", str(tmp_path / "vox")]) == 1
    said = capsys.readouterr().out
    assert f"{tmp_path / 'vox'}/train/<person>#<video>#<start>#<end>.mp4" in said
    assert "VoxCeleb1 is not handed out as video" in said


def test_the_root_must_be_named():
    with pytest.raises(SystemExit):
        main([])


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write(tmp_path_factory.mktemp("doctor") / "a.mkv", "h264")


def put(path, source):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read_bytes())
    return path


def test_files_that_are_not_read_are_named_with_what_is(faces, video, capsys):
    put(faces / "train" / "id12#v.mkv", video)
    put(faces / "train" / "id10#v.m4v", video)
    put(faces / "train" / "id11#v.vob", video)
    put(faces / "left.mp4", video)
    put(faces / "train" / ".hidden.vob", video)
    clip = faces / "train" / "id0#v0#000#006.mp4"
    for index in range(3):
        Image.new("RGB", (16, 16)).save(clip / f"{index}.bmp")
    put(clip / "whole.mp4", video)
    Image.new("RGB", (16, 16)).save(faces / "test" / "loose.png")
    (clip / "notes.txt").write_text("no picture")
    assert main(["--root", str(faces)]) == 1
    said = capsys.readouterr().out
    assert "train: 5 people, 8 clips" in said
    for fault in (
        "id11#v.vob' in",
        f"{faces / 'left.mp4'}' in",
        "0.bmp' and 2 more .bmp in the clips of train are not read",
        "whole.mp4' in the clips of train is not read",
        "loose.png' in",
        "a clip is a folder of .jpeg, .jpg, .png, .webp, or a video .3gp, .avi",
        "5 faults.",
    ):
        assert fault in said
    assert "hidden" not in said
    assert "notes.txt" not in said


def test_the_folders_of_voxceleb2_are_recognised_and_the_remedy_works(tmp_path, video, capsys):
    root, new = tmp_path / "vox 2", tmp_path / "new"
    for split in ("train", "test"):
        for person in range(2):
            put(root / split / f"id{split}{person}" / "21Uxsk56VDQ" / "00001.mp4", video)
    with pytest.raises(DataError, match="VoxCeleb2's own <person>/<video>/<utterance>"):
        VideoFrames(str(root), 32).setup("fit")
    assert main(["--root", str(root)]) == 1
    remedy = capsys.readouterr().out.partition("python -m datamodules.doctor ")[2].partition(" makes")[0]
    assert main(shlex.split(remedy.replace("NEW", str(new)))) == 0
    assert main(["--root", str(new)]) == 0
    split = split_clips(new)
    assert [clip.name for clip in split.train] == ["idtrain0#21Uxsk56VDQ#00001", "idtrain1#21Uxsk56VDQ#00001"]
    assert [clip.person for clip in split.test] == ["idtest0", "idtest1"]
    with pytest.raises(DataError, match="name a new folder"):
        main(["--root", str(root), "--link", str(new)])


def test_folders_of_frames_that_lie_deeper_are_linked_too(tmp_path, write_clip, capsys):
    for person in range(2):
        write_clip(tmp_path / "set" / f"id{person}" / "video", 2)
    assert main(["--root", str(tmp_path / "set"), "--link", str(tmp_path / "new")]) == 0
    assert [clip.name for clip in find_clips(tmp_path / "new")] == ["id0#video", "id1#video"]


@pytest.mark.parametrize(("split", "other"), [("train", "test"), ("test", "train")])
def test_a_file_in_the_place_of_a_split_is_one_sentence(tmp_path, write_clip, capsys, split, other):
    write_clip(tmp_path / "set" / other / "id0" / "video", 2)
    (tmp_path / "set" / split).write_text("not a folder")
    assert main(["--root", str(tmp_path / "set")]) == 1
    assert f"wrong: There is no folder '{tmp_path / 'set' / split}'" in capsys.readouterr().out
    with pytest.raises(DataError, match=rf"^'.*{split}' cannot be read \(Not a directory\): put a folder"):
        main(["--root", str(tmp_path / "set"), "--link", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_a_set_without_a_clip_is_not_linked(tmp_path):
    (tmp_path / "set" / "train" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "train" / "deep" / "notes.txt").write_text("no clip")
    with pytest.raises(DataError, match=r"^There is no clip to link in '.*set', however deep: a clip is a folder"):
        main(["--root", str(tmp_path / "set"), "--link", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_a_folder_of_pictures_that_are_not_read_is_named(tmp_path, capsys):
    (tmp_path / "train" / "id0#v").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "train" / "id0#v" / "0.tiff")
    assert main(["--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "id0#v' has 0 frames" in said
    assert "0.tiff' in the clips of train is not read" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.vob").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no clip, and 'film\.vob' is not read there"):
        find_clips(tmp_path / "empty")


def test_two_clips_of_one_name_are_refused(tmp_path, video, capsys):
    put(tmp_path / "train" / "id0#v.mkv", video)
    put(tmp_path / "train" / "id0#v.mp4", video)
    assert main(["--root", str(tmp_path)]) == 1
    assert "are one clip by their names" in capsys.readouterr().out


def test_a_pipe_is_no_video_and_a_link_to_nowhere_is_missed(tmp_path, video):
    put(tmp_path / "a.mkv", video)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert [clip.name for clip in find_clips(tmp_path)] == ["a", "gone"]
    with pytest.raises(DataError, match=r"gone\.mp4' is not a readable video"):
        len(Clip(tmp_path / "gone.mp4"))


def test_a_video_that_cannot_be_read_frame_by_frame_is_said(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    set_matrix(write(tmp_path / "train" / "id0#v.mp4", "h264"), 2, 1, -1, 2)
    assert main(["--root", str(tmp_path)]) == 1
    assert "id0#v.mp4' is to be shown at a slant" in capsys.readouterr().out


def test_an_animation_among_frames_is_refused(tmp_path, write_clip, capsys):
    clip = write_clip(tmp_path / "train" / "id0#v", 3)
    pictures = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 255)]
    pictures[0].save(clip / "0000002.png", save_all=True, append_images=pictures[1:])
    pictures[0].save(clip / "0000003.webp", save_all=True, append_images=pictures[1:])
    assert main(["--root", str(tmp_path), "--all-frames"]) == 1
    said = capsys.readouterr().out
    assert "0000002.png' is not a readable picture (it holds several pictures" in said
    assert "0000003.webp' is not a readable picture (it holds several pictures" in said


@pytest.mark.parametrize("name", ["id0#v.mp4", "id0#v.gif", "id0#v.mkv", "id0#v/0.jpg", "id0#v/0.webp"])
@pytest.mark.parametrize("content", [b"", b"hello", bytes(500)])
def test_no_file_ends_in_a_traceback(tmp_path, capsys, name, content):
    path = tmp_path / "train" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert main(["--root", str(tmp_path), "--all-frames"]) == 1
    assert path.name in capsys.readouterr().out
