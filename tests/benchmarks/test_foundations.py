"""What the foundations need of Stable Diffusion, and that their files say it."""

import pytest

from benchmarks import cli
from tests.models.conftest import BENCHMARKS

NEEDED = "Of Stable Diffusion's weights it needs the autoencoder's; tiny/ and small/ need none"


def parsed(*names):
    return cli.parse(["fit", *(part for name in names for part in ("-c", str(BENCHMARKS / f"{name}.yaml")))])


@pytest.mark.parametrize("name", ["foundation", "prompted"])
def test_of_stable_diffusion_a_foundation_needs_the_autoencoder_at_the_papers_scale_alone(name):
    header = (BENCHMARKS / f"{name}.yaml").read_text().partition("seed_everything")[0]
    assert NEEDED in " ".join(line.removeprefix("# ") for line in header.splitlines())
    whole = parsed(name)
    assert whole.model.init_args.codec.init_args.folder.startswith("stable-diffusion")
    assert str(whole.model.as_dict()).count("/stable-diffusion") == 1  # no network, and no words
    for scale in ("tiny", "small"):
        smaller = parsed(name, f"{scale}/{name}")
        assert "stable-diffusion" not in str(smaller.model.as_dict())
        assert list(smaller.needs) == ["codec"]
