from hashlib import sha256

import pytest
import torch
from torchvision.models import VGG19_Weights

from models import weights
from models.base import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a file that pretends to be ResNet-18's: its name carries its own checksum."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"x": torch.ones(2)}, folder / "made.pth")
    digest = sha256((folder / "made.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(weights.WeightsFile, "sha256", property(lambda self: digest[:8]))
    return folder


def put(cache, name):
    path = weights.FILES[name].path
    path.write_bytes((cache / "made.pth").read_bytes())
    return path


def test_names_lie_where_torch_hub_puts_them_and_carry_their_checksum(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    file = weights.FILES["vgg19_imagenet"]
    assert file.path == tmp_path / "checkpoints" / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    assert len(file.sha256) == 8
    assert int(file.sha256, 16) > 0


def test_an_absent_file_is_not_found_and_never_fetched(cache, monkeypatch):
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: pytest.fail("fetched unasked"))
    assert weights.find("vgg19_imagenet") is None
    with pytest.raises(UserError, match=r"python -m models.weights fetch vgg19_imagenet"):
        weights.load("vgg19_imagenet")


def test_a_file_in_the_cache_is_found_verified_and_read(cache):
    path = put(cache, "resnet18_imagenet")
    assert weights.find("resnet18_imagenet") == path
    assert weights.verify("resnet18_imagenet")
    assert weights.load("resnet18_imagenet")["x"].tolist() == [1, 1]


def test_a_damaged_file_is_refused(cache, capsys):
    put(cache, "resnet18_imagenet").write_bytes(b"half a file")
    with pytest.raises(UserError, match="is damaged; delete it"):
        weights.load("resnet18_imagenet")
    with pytest.raises(SystemExit, match="damaged: resnet18_imagenet"):
        weights.main(["verify", "resnet18_imagenet"])


def test_fetch_downloads_what_the_record_says_once(cache, monkeypatch):
    asked = []

    def download(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        put(cache, "resnet18_imagenet")

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    weights.main(["fetch", "resnet18_imagenet"])
    weights.main(["fetch", "resnet18_imagenet"])
    file = weights.FILES["resnet18_imagenet"]
    assert asked == [(file.origin.url, file.sha256)]


def test_the_list_says_what_is_there(cache, capsys):
    put(cache, "resnet18_imagenet")
    weights.main(["list"])
    told = capsys.readouterr().out
    assert "resnet18_imagenet: present" in told
    assert "vgg19_imagenet: absent" in told
    assert "BSD-3-Clause" in told


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(SystemExit, match="no weights are called resnet19; there are: vgg19_imagenet"):
        weights.main(["verify", "resnet19"])
