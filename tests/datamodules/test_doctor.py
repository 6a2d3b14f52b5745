import pytest

from datamodules.doctor import main


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


def test_a_missing_set_is_explained(tmp_path, capsys):
    assert main(["--root", str(tmp_path / "vox")]) == 1
    said = capsys.readouterr().out
    assert f"{tmp_path / 'vox'}/train/<person>#<video>#<start>#<end>.mp4" in said
    assert "VoxCeleb1 is not handed out as video" in said


def test_the_root_must_be_named():
    with pytest.raises(SystemExit):
        main([])
