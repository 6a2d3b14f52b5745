"""The fit that draws pairs, and the bank that keeps them for another."""

import inspect
import os
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch.nn.functional import interpolate
from torch.testing import assert_close
from torch.utils.data import Dataset

from benchmarks.running.processes import Processes
from datamodules.base import PortraitDataModule
from models.diffusion.codecs import PatchPCACodec
from models.diffusion.networks import UNetConfig
from models.diffusion.sampling import noise_of, sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.diffusion.words import Vocabulary
from models.errors import UserError
from models.mcdm.pair_bank import PairBank
from models.mcdm.pair_stage import PairStage
from models.mcdm.pairs import Composition
from models.tasks import seeds
from tests.benchmarks.running.kills import in_two_processes
from tests.models.conftest import BENCHMARKS

SHARED, PLAIN, CROWN = "the same person", "a person", "a person with a crown"
SCHEDULE = NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing")


def stage(count=6, **changes):
    torch.manual_seed(1)
    codec = PatchPCACodec(4, 4)
    codec.fit(interpolate(torch.rand(64, 3, 4, 4), size=16, mode="bilinear"), 1.0)
    options = {
        "image_size": 16,
        "base": None,
        "codec": codec,
        "unet": UNetConfig([8, 16], [False, True], 1, 2, 8, 3, 4),
        "words": Vocabulary([SHARED, PLAIN, CROWN], 3, 8),
        "schedule": SCHEDULE,
        "shared": SHARED,
        "composition": Composition(0.2, 0.8, 0.8, None),
        "steps": 4,  # of equal length, as diffusers takes them to be
        "guidance": 2.0,
        "pairs": PairBank(16, count, 32),
    }
    return PairStage(**(options | changes)).eval()


def batch(*names):
    pairs = len(names)
    return {"source_prompt": [PLAIN] * pairs, "target_prompt": [CROWN, PLAIN] * (pairs // 2), "name": list(names)}


def test_a_pass_fills_the_bank_with_a_pair_of_each_sample_and_no_more():
    model = stage()
    model.on_train_epoch_start()
    for names in (("a", "b", "c", "d"), ("e", "f", "g", "h"), ("i", "j")):
        model.training_step(batch(*names), 0)
    model.on_train_epoch_end()
    assert model.pairs.missing == 0
    source, target = model.draw([(PLAIN, CROWN)], seeds(["e"]))
    assert_close(model.pairs.source[4], (source[0] * 255).round().byte())
    assert_close(model.pairs.target[4], (target[0] * 255).round().byte())
    assert source.min() >= 0
    assert target.max() <= 1


def test_a_fit_that_goes_on_begins_anew():
    model = stage()
    model.training_step(batch("x", "y"), 0)
    model.on_train_epoch_start()
    assert model.pairs.missing == 6


def test_pairs_are_a_function_of_their_names():
    first = stage().draw([(PLAIN, CROWN)] * 2, seeds(["a", "b"]))
    again = stage().draw([(PLAIN, CROWN)] * 2, seeds(["b", "a"]))
    for ours, theirs in zip(first, again, strict=True):
        assert_close(ours, theirs.flip(0), rtol=1e-4, atol=1e-4)


def test_neither_pose_nor_identity_is_given_at_any_scale_and_the_pages_say_so(monkeypatch):
    model, given = stage(), []
    draw = model.generator.draw
    monkeypatch.setattr(model.generator, "draw", lambda *parts: given.append(parts) or draw(*parts))
    model.draw([(PLAIN, CROWN)], seeds(["a"]))
    (_, words), *more = given  # and no skeleton
    assert (words.identity, model.generator.controlnet, more) == (None, None, [])
    assert not {"controlnet", "identity"} & set(inspect.signature(PairStage).parameters)
    page = Path(inspect.getfile(PairStage)).with_name("README.md").read_text()
    for subject in ("words of identity", "pose"):
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {subject} |"))
        assert "at any scale" in row
    assert "are given at no scale" in (BENCHMARKS / "pairs.yaml").read_text()


def test_a_pair_of_one_prompt_is_a_sample_of_the_canvas():
    """With p = p_a = p_b the composition is plain guidance, which the suite's own sampler does, too."""
    model = stage()
    source, target = model.draw([(SHARED, SHARED)], seeds(["a"]))
    null, given = model.words(["", SHARED]).split(1)

    @torch.no_grad()
    def denoise(noisy, level):
        without, with_words = (model.denoiser(noisy, torch.tensor([level]), words) for words in (null, given))
        return without + 2.0 * (with_words - without)

    latents = sample(denoise, NoiseSchedule(SCHEDULE), noise_of(seeds(["a"]), (4, 4, 8)), 4)
    canvas = model.codec.decode(latents).clamp(0, 1)
    assert_close(torch.cat([source, target], -1), canvas, rtol=1e-3, atol=1e-4)


def test_too_few_samples_are_told_of():
    model = stage()
    model.training_step(batch("a", "b"), 0)
    with pytest.raises(UserError, match="has 4 samples too few"):
        model.on_train_epoch_end()


class Named(Dataset):
    """Twelve samples, each a function of its number."""

    def __len__(self):
        return 12

    def __getitem__(self, number):
        return {"source_prompt": PLAIN, "target_prompt": [CROWN, PLAIN][number % 2], "name": f"sample {number}"}


class InTurn(PortraitDataModule):
    train_set = Named()


def drawn_by_a_fit(count, batch_size, **trainer):
    model = stage(count)
    options = {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_checkpointing": False}
    options |= {"enable_progress_bar": False, "enable_model_summary": False}
    Trainer(**options, **trainer).fit(model, InTurn(16, batch_size, num_workers=0))
    return model.pairs


@pytest.mark.parametrize("count", [10, 7])
def test_two_processes_draw_what_one_draws_and_the_first_keeps_it(count, tmp_path):
    alone = drawn_by_a_fit(count, 4)
    assert alone.missing == 0

    def work():
        pairs = drawn_by_a_fit(count, 2, devices=2, strategy=Processes())
        assert pairs.missing == 0
        if os.environ["LOCAL_RANK"] == "0":
            torch.save(pairs.state_dict(), tmp_path / "pairs")
        else:
            assert not pairs.source.any()  # 110 GB at the paper's scale

    assert in_two_processes(work) == [0, 0]
    for name, kept in torch.load(tmp_path / "pairs").items():
        assert_close(kept, alone.state_dict()[name], rtol=0, atol=1)  # of 255


def test_too_few_samples_are_told_of_before_any_is_drawn(monkeypatch):
    monkeypatch.setattr(PairStage, "draw", None)
    with pytest.raises(UserError, match="has 3 samples too few"):
        drawn_by_a_fit(13, 5)  # in two batches of its twelve samples


def bank():
    made = PairBank(4, 3, 16)
    torch.manual_seed(0)
    pictures = (torch.rand(2, 3, 3, 4, 4) * 255).round() / 255
    made.add(pictures[0], pictures[1], [(PLAIN, "crown"), (PLAIN, "mütze"), ("", "c")])
    return made, pictures


def test_a_bank_gives_back_pairs_with_their_own_words():
    made, pictures = bank()
    drawn = made.draw(40)
    rows = [int(name.removeprefix("pair/")) for name in drawn["name"]]
    assert set(rows) == {0, 1, 2}
    assert_close(drawn["source"], pictures[0][rows])
    assert_close(drawn["target"], pictures[1][rows])
    assert drawn["source_prompt"] == [[PLAIN, PLAIN, ""][row] for row in rows]
    assert drawn["target_prompt"] == [["crown", "mütze", "c"][row] for row in rows]


def test_a_bank_travels_as_weights():
    made, _ = bank()
    other = PairBank(4, 3, 16)
    other.load_state_dict(made.state_dict())
    torch.manual_seed(5)
    ours = made.draw(4)
    torch.manual_seed(5)
    theirs = other.draw(4)
    assert ours["target_prompt"] == theirs["target_prompt"]
    assert_close(ours["target"], theirs["target"], rtol=0, atol=0)


def test_a_bank_that_is_not_full_gives_nothing():
    with pytest.raises(UserError, match=r"3 pairs have not been drawn: name the fit"):
        PairBank(4, 3, 16).draw(1)


def test_a_prompt_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="is longer than 16 bytes"):
        PairBank(4, 3, 16).add(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), [(PLAIN, CROWN)])


def test_the_papers_pairs_are_110_gb_and_refused_where_there_is_less(monkeypatch):
    monkeypatch.setattr("models.mcdm.pair_bank.os.sysconf", {"SC_PHYS_PAGES": 16_000_000, "SC_PAGE_SIZE": 4096}.get)
    message = "69900 pairs of side 512 need 110 GB of memory, and this machine has 66; lower pairs.init_args.count"
    with pytest.raises(UserError, match=message):
        PairBank(512, 69900, 96)


def test_as_many_pairs_as_the_memory_holds_are_taken(monkeypatch):
    monkeypatch.setattr("models.mcdm.pair_bank.os.sysconf", {"SC_PHYS_PAGES": 2 * 3 * 3, "SC_PAGE_SIZE": 16}.get)
    assert PairBank(4, 3, 16).missing == 3
    with pytest.raises(UserError, match="4 pairs of side 4"):
        PairBank(4, 4, 16)


def test_pairs_stay_where_they_are_when_a_model_moves_and_are_drawn_where_it_is():
    made, _ = bank()
    made.to("meta")
    assert not list(made.buffers())  # which processes would send one another at each step
    assert {value.device.type for value in made.state_dict().values()} == {"cpu"}
    drawn = made.draw(2, "meta")
    assert {drawn[name].device.type for name in ("source", "target")} == {"meta"}


def test_pairs_of_a_fit_are_taken_over_without_a_copy():
    """They may be mapped from its checkpoint, and then need no memory."""
    state = bank()[0].state_dict()
    assert list(state) == ["source", "target", "words", "filled"]  # the names that checkpoints have
    other = PairBank(4, 3, 16)
    other.load_state_dict(state)
    assert all(getattr(other, name) is value for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": torch.zeros(3, 2, 8)}, r"words has shape \(3, 2, 8\), where \(3, 2, 16\)"),
        ({"filled": None}, "filled"),
    ],
)
def test_pairs_of_another_size_or_without_a_part_are_refused(change, message):
    state = {name: value for name, value in (bank()[0].state_dict() | change).items() if value is not None}
    with pytest.raises(RuntimeError, match=message):
        PairBank(4, 3, 16).load_state_dict(state)
