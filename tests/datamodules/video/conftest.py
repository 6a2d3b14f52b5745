"""What the tests of videos share."""

import pytest

from tests.datamodules.video.video_matrix import maker


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Every video of the matrix, made once when first asked for."""
    return maker(tmp_path_factory.mktemp("videos"))
