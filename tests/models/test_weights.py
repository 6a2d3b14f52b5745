import os
import re
import sys
from hashlib import sha256
from zipfile import ZipFile

import pytest
import torch
from torchvision.models import VGG19_Weights

from models import weights
from models.errors import UserError
from models.weight_files import OFFLINE, WeightsFile


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch.hub."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(weights.FOLDER, raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(tmp_path, cache, monkeypatch):
    """Publishes a file on disk: returns a function that makes its record, with a file:// address."""
    source = tmp_path / "publisher" / "made.pth"
    source.parent.mkdir()
    torch.save({"x": torch.ones(2)}, source)

    def publish(path=source, **record):
        digest = sha256(path.read_bytes()).hexdigest()
        record = {"sha256": digest[:8], "licence": "of the test"} | record
        file = WeightsFile(name="made", url=path.as_uri(), purpose="tests", **record)
        monkeypatch.setattr(weights, "FILES", {"made": file})
        return file

    publish.source = source
    return publish


def test_the_records_are_plain_and_complete():
    for name, file in weights.FILES.items():
        assert file.name == name
        assert file.file_name
        assert file.purpose
        assert file.licence
        assert file.url.startswith("https://") or file.by_hand
        assert bool(file.package) == (file.by_hand == OFFLINE)
        digest = file.sha256
        assert digest is None or (len(digest) >= 8 and int(digest, 16) >= 0)
        if digest is not None and len(digest) < 64:
            assert digest in file.file_name  # a prefix is the one that the publisher put into the name
    assert len({file.file_name for file in weights.FILES.values()}) == len(weights.FILES)
    flagged = {name for name, file in weights.FILES.items() if file.non_commercial}
    assert flagged == {"w600k_r50", "hyperiqa", "dlib_68_points"}


def test_torchvision_files_lie_where_torch_hub_puts_them_and_carry_their_checksum(cache):
    file = weights.FILES["vgg19_imagenet"]
    assert file.path == cache / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    assert file.path.stem == f"vgg19-{file.sha256}"


def test_an_absent_file_is_not_found_and_never_fetched(cache, monkeypatch):
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: pytest.fail("fetched unasked"))
    monkeypatch.setattr("models.weight_files.find_spec", lambda name: None)
    for name, file in weights.FILES.items():
        assert weights.find(name) is None
        remedy = re.escape(OFFLINE) if file.package else f"python -m models.weights fetch {name}"
        with pytest.raises(UserError, match=f"{remedy}$"):
            weights.load(name)
    with pytest.raises(UserError, match="fetch i3d_k400"):
        weights.load_script("i3d_k400")


@pytest.mark.parametrize("digits", [8, 64])
def test_fetch_downloads_once_and_what_it_brings_is_read(published, digits, capsys):
    digest = sha256(published.source.read_bytes()).hexdigest()
    file = published(sha256=digest[:digits])
    weights.main(["fetch", "made"])
    published.source.unlink()
    weights.main(["fetch", "made"])
    assert weights.find("made") == file.path
    assert weights.load("made")["x"].tolist() == [1, 1]
    assert not file.path.with_name("made.pth.sha256").exists()
    assert "made: verified" in capsys.readouterr().out


def test_a_wrong_checksum_is_refused_and_leaves_nothing(published, cache):
    published(sha256="0" * 64)
    with pytest.raises(UserError, match=r"could not be fetched \(invalid hash.*by hand and put it at"):
        weights.fetch("made")
    assert list(cache.iterdir()) == []


def test_no_network_is_one_sentence(published, cache):
    published()
    published.source.unlink()
    with pytest.raises(SystemExit, match=r"error: file://.*made.pth could not be fetched"):
        weights.main(["fetch", "made"])
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1"])
def test_a_page_in_place_of_the_file_is_refused(published, cache, page):
    published.source.write_bytes(page)
    published(sha256=None)
    with pytest.raises(UserError, match="a page was given instead"):
        weights.fetch("made")
    assert list(cache.iterdir()) == []


def test_without_a_published_checksum_the_first_one_is_recorded_and_held_to(published):
    file = published(sha256=None)
    weights.fetch("made")
    record = file.path.with_name("made.pth.sha256").read_text()
    assert record == f"{sha256(file.path.read_bytes()).hexdigest()}  made.pth\n"
    assert weights.verify("made")
    file.path.write_bytes(file.path.read_bytes() + b"x")
    assert not weights.verify("made")
    with pytest.raises(UserError, match="is damaged; delete it"):
        weights.fetch("made")
    with pytest.raises(UserError, match="is damaged; delete it"):
        weights.load("made")


def test_a_file_put_by_hand_without_any_checksum_waits_for_fetch(published):
    file = published(sha256=None)
    file.path.write_bytes(published.source.read_bytes())
    with pytest.raises(UserError, match=r"names no checksum.*python -m models.weights fetch made"):
        weights.load("made")
    weights.fetch("made")
    assert weights.load("made")["x"].tolist() == [1, 1]


def test_a_broken_record_is_one_sentence(published):
    file = published(sha256=None)
    weights.fetch("made")
    file.path.with_name("made.pth.sha256").write_text("")
    with pytest.raises(UserError, match="does not begin with a SHA-256"):
        weights.load("made")


def test_a_damaged_file_is_refused(published):
    file = published()
    file.path.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"made.pth is damaged; delete it, then: python -m models.weights fetch made"):
        weights.load("made")
    with pytest.raises(SystemExit, match=r"made.pth is damaged"):
        weights.main(["verify"])


def test_the_named_folder_goes_before_the_cache(published, tmp_path, monkeypatch):
    file = published()
    weights.fetch("made")
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv(weights.FOLDER, str(folder))
    assert weights.find("made") == file.path
    (folder / "made.pth").write_bytes(b"another")
    assert weights.find("made") == folder / "made.pth"
    with pytest.raises(UserError, match=r"shared/made.pth is damaged"):
        weights.load("made")


def test_a_file_is_placed_where_other_packages_look_for_it(published, tmp_path, monkeypatch):
    file = published()
    monkeypatch.setenv(weights.FOLDER, str(published.source.parent))
    assert weights.place("made") == file.path
    assert os.path.samefile(file.path, published.source)
    assert weights.place("made") == file.path
    file.path.unlink()
    file.path.write_bytes(b"something else")
    with pytest.raises(UserError, match="is another file than"):
        weights.place("made")


@pytest.fixture
def packaged(tmp_path, cache, monkeypatch):
    """The record of a file in a package that is installed and cannot be imported."""
    folder = tmp_path / "site" / "faces_by_pip"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('located only')")
    torch.save({"x": torch.ones(2)}, folder / "models" / "made.dat")
    monkeypatch.syspath_prepend(str(folder.parent))
    digest = sha256((folder / "models" / "made.dat").read_bytes()).hexdigest()
    terms = {"purpose": "tests", "licence": "of the test", "sha256": digest, "by_hand": OFFLINE}
    file = WeightsFile("made", "", **terms, member="models/made.dat", package="faces_by_pip")
    monkeypatch.setattr(weights, "FILES", {"made": file})
    return file


def test_a_file_in_a_package_is_found_without_importing_it_between_the_folder_and_the_cache(
    packaged, tmp_path, monkeypatch
):
    inside = tmp_path / "site/faces_by_pip/models/made.dat"
    packaged.path.write_bytes(b"in the cache")
    assert weights.find("made") == packaged.packaged == inside
    assert weights.load("made")["x"].tolist() == [1, 1]
    assert "faces_by_pip" not in sys.modules
    monkeypatch.setenv(weights.FOLDER, str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    assert weights.find("made") == inside
    (tmp_path / "shared" / "made.dat").write_bytes(b"explicit")
    assert weights.find("made") == tmp_path / "shared" / "made.dat"
    (tmp_path / "shared" / "made.dat").unlink()
    inside.unlink()
    assert weights.find("made") == packaged.path


def test_fetch_of_a_packaged_file_answers_with_the_pip_line(packaged, cache, tmp_path, capsys):
    weights.main(["fetch", "made"])
    assert "made: verified" in capsys.readouterr().out
    (tmp_path / "site/faces_by_pip/models/made.dat").unlink()
    with pytest.raises(SystemExit, match=rf"^error: .*\(of the test\) come with a package: {re.escape(OFFLINE)}$"):
        weights.main(["fetch", "made"])
    capsys.readouterr()
    weights.main(["fetch"])  # all that is free: what comes by pip is told, and no failure
    assert capsys.readouterr().out.endswith(f"comes with a package: made ({OFFLINE})\n")
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_a_package_is_installed_anew(packaged, tmp_path):
    (tmp_path / "site/faces_by_pip/models/made.dat").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"made.dat is damaged; pip install --force-reinstall --no-deps faces-by-pip$"):
        weights.load("made")


def test_a_file_in_a_package_that_cannot_be_read_is_installed_anew(packaged, published, tmp_path, monkeypatch):
    published(sha256=None)
    weights.fetch("made")
    other = weights.FILES["made"]
    monkeypatch.setattr(weights, "FILES", {"made": packaged, "twin": packaged, "other": other})
    line = "pip install --force-reinstall --no-deps faces-by-pip"
    assert weights.again("made", "twin") == line  # a package is named once
    rest = f"delete '{other.path}', '{other.path}.sha256', then: python -m models.weights fetch other"
    assert weights.again("other") == rest
    assert weights.again("made", "other") == f"{line}; and {rest}"
    (tmp_path / "site/faces_by_pip/models/made.dat").unlink()
    with pytest.raises(UserError, match=re.escape(OFFLINE)):
        weights.again("made")


def test_the_installed_packages_of_faces_hold_the_pinned_files(cache):
    pytest.importorskip("dlib", reason="the extra face-offline is not installed")
    for name in ("dlib_resnet", "dlib_5_points", "dlib_68_points", "dlib_cnn_detector"):
        assert weights.verified(name) == weights.FILES[name].packaged
    assert "face_recognition_models" not in sys.modules  # it would need pkg_resources


def test_non_commercial_files_are_fetched_only_by_name_with_the_licence(published, cache, capsys):
    file = published(non_commercial=True, licence="for research only")
    weights.main(["fetch"])
    assert list(cache.iterdir()) == []
    assert "only by their names, for their licences: made" in capsys.readouterr().out
    weights.main(["fetch", "made"])
    assert file.path.is_file()
    assert "made: licence: for research only" in capsys.readouterr().out


def test_a_file_without_an_address_says_how_to_get_it(cache):
    with pytest.raises(SystemExit, match=r"have no address; get it from the model page of pyiqa.*put the file at"):
        weights.main(["fetch", "hyperiqa"])


def test_a_file_is_taken_out_of_an_archive(published, tmp_path):
    archive = tmp_path / "publisher" / "many.zip"
    with ZipFile(archive, "w") as files:
        files.write(published.source, "models/made.pth")
        files.writestr("models/other.pth", "other")
    file = published(archive, sha256=None, saved_as="made.pth", member="made.pth")
    weights.fetch("made")
    assert file.path.read_bytes() == published.source.read_bytes()
    file.path.unlink()
    published(archive, sha256=None, saved_as="x.pth", member="missing.pth")
    with pytest.raises(UserError, match=r"holds 0 files called missing\.pth"):
        weights.fetch("made")


def test_code_in_a_file_is_not_run(published, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"x": Evil()}, published.source)
    published()
    weights.fetch("made")
    with pytest.raises(UserError, match="does not hold plain weights"):
        weights.load("made")
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_read(published, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    source = tmp_path / "publisher" / "made.safetensors"
    safetensors.save_file({"x": torch.ones(3)}, source)
    published(source)
    weights.fetch("made")
    assert weights.load("made")["x"].tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_read(published, tmp_path):
    source = tmp_path / "publisher" / "made.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), source)
    published(source, sha256=None)
    weights.fetch("made")
    assert weights.load_script("made")(torch.ones(1, 2)).shape == (1, 1)


def test_the_list_says_what_is_there(published, capsys):
    published(non_commercial=True, megabytes=3.5)
    weights.main(["list"])
    assert "made: absent" in capsys.readouterr().out
    weights.fetch("made")
    weights.main(["list"])
    told = capsys.readouterr().out
    assert "made: present" in told
    assert "3.5 MB; of the test (fetched only by name); for the tests" in told


def test_the_real_list_names_every_publisher(cache, capsys):
    weights.main(["list"])
    told = capsys.readouterr().out
    for file in weights.FILES.values():
        assert (file.url or file.by_hand) in told
        assert file.licence in told


def test_verifying_an_absent_file_by_name_fails(cache):
    weights.main(["verify"])
    with pytest.raises(SystemExit, match="fetch yunet"):
        weights.main(["verify", "yunet"])


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(SystemExit, match="no weights are called resnet19; there are: vgg19_imagenet"):
        weights.main(["verify", "resnet19"])
