from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file

from metrics.procface import EMBEDDING, SIDE, WEIGHTS, ProcFace, resized
from models.errors import UserError


@pytest.fixture(scope="module")
def network() -> ProcFace:
    torch.manual_seed(0)
    return ProcFace().eval()


@pytest.mark.parametrize("side", [64, 128, 200])
def test_shapes_and_ranges_at_any_size(network, side):
    faces = network(torch.rand(2, 3, side, side))
    assert faces.landmarks.shape == (2, 68, 2)
    assert faces.expression.shape == (2, 25)
    assert faces.features.shape == (2, 144)
    assert faces.embedding.shape == (2, EMBEDDING)
    torch.testing.assert_close(faces.embedding.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(faces.rotation @ faces.rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(faces.rotation), torch.ones(2))
    assert ((faces.confidence >= 0) & (faces.confidence <= 1)).all()


def test_landmarks_are_pixels_of_the_given_picture(network):
    picture = torch.rand(1, 3, 32, 32).repeat_interleave(4, 2).repeat_interleave(4, 3)
    large = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    at_128, at_256 = network(picture).landmarks, network(large).landmarks
    torch.testing.assert_close((at_256 + 0.5) / 2 - 0.5, at_128, atol=1.0, rtol=0)  # the filter blurs the tiles


def test_centres_of_mass_find_a_peak_exactly():
    from metrics.procface import _centres

    heat = torch.full((1, 1, 16, 16), -50.0)
    heat[0, 0, 3, 10] = heat[0, 0, 3, 11] = 50.0
    expected = torch.tensor([[[2 * 11 / 16 - 1, 2 * 3.5 / 16 - 1]]])
    torch.testing.assert_close(_centres(heat), expected)


@pytest.mark.parametrize(
    "images",
    [torch.rand(3, 64, 64), torch.rand(1, 1, 64, 64), torch.rand(1, 3, 64, 48), torch.rand(1, 3, 64, 64) * 2],
)
def test_what_is_no_picture_is_refused(network, images):
    with pytest.raises(ValueError, match="pass"):
        network(images)


def test_downwards_resizing_is_antialiased():
    stripes = torch.zeros(1, 3, 4 * SIDE, 4 * SIDE)
    stripes[..., ::2] = 1
    torch.testing.assert_close(resized(stripes)[..., 4:-4], torch.full((1, 3, SIDE, SIDE - 8), 0.5), atol=1e-3, rtol=0)


def test_a_written_network_comes_back(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({name: value.half() for name, value in network.state_dict().items() if value.is_floating_point()}, path)
    loaded = ProcFace.load(path, sha256(path.read_bytes()).hexdigest())
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded(images).landmarks, network(images).landmarks, atol=0.1, rtol=0)


def test_a_damaged_or_absent_file_is_refused_in_one_sentence(tmp_path):
    content = bytearray(WEIGHTS.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not the face network .* install the package again\.$"):
        ProcFace.load(path)
    with pytest.raises(UserError, match="is not at"):
        ProcFace.load(tmp_path / "none.safetensors")


def test_the_shipped_file_is_small_and_whole():
    assert WEIGHTS.stat().st_size <= 5e6
    missing = ProcFace().load_state_dict(ProcFace.load().state_dict(), strict=True)
    assert not missing.missing_keys
