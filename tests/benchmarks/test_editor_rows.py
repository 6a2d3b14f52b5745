"""The rows of the editor's tables: which share a fit, and which have one of their own."""

from pathlib import Path

import pytest

from benchmarks import cli, runs

ROOT = Path(__file__).parents[2]
BASE = ["-c", "benchmarks/mcdm.yaml", "-c", "benchmarks/tiny/mcdm.yaml"]
SAMPLING = [
    "no_mask", "no_guidance", "noise_blend", "latent_blend_recon", "latent_blend_input", "pixel_paste",
    "mask_from_null",
    "mask_words_only", "guidance_text_tiny", "guidance_released",
]  # fmt: skip
TRAINING = [
    "no_pretraining_tiny", "no_spatial_tiny", "no_image_tokens_tiny", "chain", "released_quartet", "reconstruction_0",
    "reconstruction_10", "severity_0", "severity_05", "severity_2", "guidance_order", "generated_tiny",
]  # fmt: skip


def fit_and_test(*variants):
    call = [*BASE, *(part for name in variants for part in ("-c", f"benchmarks/variants/mcdm/{name}.yaml"))]
    call += ["--data.init_args.test.split=val"]
    test = runs.Run.of("test", cli.parse(["test", *call]), cli.parse, tuple(call))
    return test.needs["checkpoint"].key, test.key


@pytest.fixture(scope="module")
def ours():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield fit_and_test()


@pytest.mark.parametrize("name", SAMPLING)
def test_ways_of_sampling_share_one_fit_and_are_tests_of_their_own(name, ours):
    fit, test = fit_and_test(name)
    assert fit == ours[0]
    assert test != ours[1]


@pytest.mark.parametrize("name", TRAINING)
def test_what_training_sees_has_a_fit_of_its_own(name, ours):
    fit, test = fit_and_test(name)
    assert fit != ours[0]
    assert test != ours[1]


def test_a_step_of_bbdm_at_the_papers_scale_is_of_32_pairs_as_its_authors_have_it(monkeypatch):
    """Their batch is 8, and four are accumulated (m5.1)."""
    monkeypatch.chdir(ROOT)
    files = ("benchmarks/mcdm.yaml", "benchmarks/variants/editing/bbdm_paper.yaml")
    config = cli.parse(["fit", *(part for file in files for part in ("-c", file))])
    assert (config.data.init_args.batch_size, config.trainer.accumulate_grad_batches) == (8, 4)
    pictures = config.data.init_args.samples_per_epoch * config.trainer.max_epochs
    assert pictures == 800_000  # as the other rows see
