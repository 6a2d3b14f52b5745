import os
import signal

import numpy as np
import pytest
import torch

from models.diffusion.codecs import PatchPCACodec
from models.diffusion.latents import LatentCache
from models.errors import UserError

NAMES = ["a/0000001", "a/0000002", "b"]


def pictures(count=3, seed=0):
    return torch.rand(count, 3, 16, 8, generator=torch.Generator().manual_seed(seed))


class Counting(PatchPCACodec):
    """A codec that writes down how many pictures it is given."""

    def encode(self, image):
        self.calls.append(len(image))
        return super().encode(image)


def codec(seed=9, channels=5):
    made = Counting(channels, 4)
    made.calls = []
    made.fit(pictures(16, seed), 1.0)
    return made


@pytest.fixture
def cache(tmp_path):
    return LatentCache(tmp_path / "latents", codec())


def test_latents_are_those_of_the_codec_within_half_precision(cache):
    images = pictures()
    exact = cache.codec.encode(images)
    fresh, kept = cache.encode(images, NAMES), cache.encode(images, NAMES)
    assert fresh.dtype == torch.float32
    assert fresh.shape == (3, 5, 4, 2)
    assert torch.equal(fresh, exact.half().float())
    assert torch.equal(fresh, kept)


def test_mixed_precision_around_it_changes_no_latent(cache):
    exact = cache.encode(pictures(), NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        kept = cache.encode(pictures(), [*NAMES[:2], "c"])  # files, and a fresh one
        found = cache.find(NAMES, (16, 8))
    torch.testing.assert_close(kept, exact, rtol=0, atol=0)
    torch.testing.assert_close(found, exact, rtol=0, atol=0)


def test_nothing_is_encoded_twice_and_what_is_missing_at_once(cache):
    images = pictures()
    whole = cache.codec.encode(images).half().float()
    cache.codec.calls.clear()
    cache.encode(images[:1], NAMES[:1])
    assert torch.equal(cache.encode(images, NAMES), whole)
    assert torch.equal(cache.encode(torch.zeros_like(images), NAMES[::-1]), whole.flip(0))
    assert cache.codec.calls == [1, 2]


def test_pictures_of_which_one_is_missing_are_not_found(cache):
    images = pictures()
    kept = cache.encode(images[:2], NAMES[:2])
    assert torch.equal(cache.find(NAMES[1::-1], (16, 8)), kept.flip(0))
    assert cache.find(NAMES, (16, 8)) is None
    assert cache.codec.calls == [2]


def test_a_picture_twice_in_a_batch_is_encoded_once(cache):
    images = pictures(1).expand(2, -1, -1, -1)
    first, second = cache.encode(images, ["x", "x"])
    assert torch.equal(first, second)
    assert cache.codec.calls == [1]


def test_another_process_finds_them(cache, tmp_path):
    cache.encode(pictures(), NAMES)
    later = LatentCache(tmp_path / "latents", codec())
    assert torch.equal(later.encode(torch.zeros(3, 3, 16, 8), NAMES), cache.encode(pictures(), NAMES))
    assert later.codec.calls == []


def test_another_codec_gets_its_own(cache, tmp_path):
    images = pictures()
    cache.encode(images, NAMES)
    other = LatentCache(tmp_path / "latents", codec(seed=3))
    assert other.folder != cache.folder
    assert torch.equal(other.encode(images, NAMES), other.codec.encode(images).half().float())
    assert other.codec.calls == [3, 3]


def test_a_latent_takes_two_bytes_a_number(cache):
    cache.encode(pictures(), NAMES)
    (file,) = cache.folder.glob("b.npy")
    assert file.stat().st_size == 2 * 5 * 4 * 2 + 128  # the header of npy
    files = {str(path.relative_to(cache.folder)) for path in cache.folder.rglob("*.npy")}
    assert files == {"a/0000001.npy", "a/0000002.npy", "b.npy"}


@pytest.mark.parametrize("name", ["", "/x", "..", "../x", "a/../../x", "a\\..\\x", "a/.."])
def test_a_name_that_leads_out_is_refused(cache, name):
    with pytest.raises(UserError, match="names no file in the cache of latents: give a name"):
        cache.encode(pictures(1), [name])
    assert cache.codec.calls == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "is not a readable latent of this picture"),
        (lambda path: path.write_bytes(b""), "is not a readable latent of this picture"),
        (lambda path: np.save(path, np.zeros((5, 4, 2))), "holds float64"),
        (lambda path: np.save(path, np.zeros((5, 2, 2), np.float16)), r"of shape \(5, 2, 2\), not .* of \(5, 4, 2\)"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "is not a readable latent of this picture"),
    ],
    ids=["cut", "empty", "kind", "size", "pickle"],
)
def test_a_broken_file_is_told_of(cache, damage, words):
    cache.encode(pictures(), NAMES)
    damage(cache.path("b"))
    with pytest.raises(UserError, match=words) as raised:
        cache.encode(pictures(), NAMES)
    assert str(raised.value).endswith("delete it, and it is encoded anew.")
    cache.path("b").unlink()
    assert torch.equal(cache.encode(pictures(), NAMES), cache.codec.encode(pictures()).half().float())


def test_a_latent_that_is_not_finite_is_not_kept(cache):
    images = pictures()
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="The latent of '0000002' is not finite: mend the picture"):
        cache.encode(images, NAMES)
    assert not cache.path(NAMES[1]).exists()


def test_gradients_are_not_kept(cache):
    assert not cache.encode(pictures().requires_grad_(), NAMES).requires_grad


def killed_while_writing(cache):
    """Encodes in a process that is killed halfway through its second file."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    save, count = np.save, iter(range(9))

    def cut(file, latent, **options):
        if next(count):
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(file, latent, **options)

    np.save = cut
    try:
        cache.encode(pictures(), NAMES)
    finally:
        os._exit(1)


def test_a_kill_leaves_whole_files_only_and_the_next_run_goes_on(cache):
    images = pictures()
    whole = cache.codec.encode(images).half().float()
    assert os.WTERMSIG(killed_while_writing(cache)) == signal.SIGKILL
    assert [cache.path(name).is_file() for name in NAMES] == [True, False, False]
    cache.codec.calls.clear()
    assert torch.equal(cache.encode(images, NAMES), whole)
    assert cache.codec.calls == [2]
    assert [path for path in cache.folder.rglob(".*") if path.name != ".lock"] == []


def test_a_write_that_is_cut_off_leaves_nothing(cache, monkeypatch):
    def cut(file, *args, **kwargs):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        cache.encode(pictures(), NAMES)
    assert [path for path in cache.folder.rglob("*") if path.is_file() and path.name != ".lock"] == []
