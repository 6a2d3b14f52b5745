import argparse

import pytest

from models.arguments import Gathered


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", [0]),
        ("--seeds 1 2", [1, 2]),
        ("--seeds 1 --seeds 2 3", [1, 2, 3]),
        ("--seeds 0 --seeds 1", [0, 1]),
    ],
)
def test_an_option_given_twice_keeps_both_times_and_never_the_default(given, kept):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", action=Gathered, default=[0])
    for _ in range(2):
        assert parser.parse_args(given.split()).seeds == kept
