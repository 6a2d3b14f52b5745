"""What is hidden, how often, and what stands in its place (m1.5, m7.6)."""

from collections import Counter
from itertools import combinations, permutations

import pytest
import torch

from models.errors import UserError
from models.mcdm import trained_patterns
from models.mcdm.conditions import CONDITIONS, Conditions, DropoutConfig, chain, joined, shares
from models.mcdm.guidance import GuidanceConfig
from tests.models.mcdm.conftest import CROWN, ORDER, PLAIN, WEIGHTS, asked, editor, guidance, pictures

SEVEN = {frozenset(some) for size in (1, 2, 3) for some in combinations(CONDITIONS, size)}
QUARTET = {frozenset({"spatial"}), frozenset({"image"}), frozenset({"text"}), frozenset(CONDITIONS)}


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("any_subset", SEVEN),
        ("released_quartet", QUARTET),
        ("chain", {frozenset({"text"}), frozenset({"spatial", "text"}), frozenset(CONDITIONS)}),
    ],
)
def test_each_mode_hides_its_sets_alone_and_each_as_often(mode, wanted):
    torch.manual_seed(0)
    hidden = DropoutConfig(mode, 0.2).draw(ORDER, 70_000)
    names = [frozenset(name for name, hide in zip(CONDITIONS, row, strict=True) if hide) for row in hidden.tolist()]
    found = Counter(names)
    assert set(found) == wanted | {frozenset()}
    for each in wanted:
        assert found[each] / len(names) == pytest.approx(0.2 / len(wanted), abs=0.003)


def test_the_share_that_is_logged_is_that_of_the_samples():
    hidden = torch.tensor([[True, False, True], [False, False, False], [True, False, True], [False, True, False]])
    assert shares(hidden) == {"spatial+text": 0.5, "none": 0.25, "image": 0.25}


@pytest.mark.parametrize("order", list(permutations(CONDITIONS)))
@pytest.mark.parametrize("mode", ["any_subset", "chain"])
def test_all_that_guidance_asks_is_trained_in_any_order(mode, order):
    config = guidance(order, {"image": 2.0, "spatial": 3.0, "text": 4.0})
    trained = trained_patterns(DropoutConfig(mode, 0.2), config)
    assert len(trained) == 4
    assert all(trained.values())


def test_the_released_quartet_never_trains_the_image_tokens_alone():
    trained = trained_patterns(DropoutConfig("released_quartet", 0.2), guidance())
    assert [name for name, known in trained.items() if not known] == ["spatial+text"]
    model = editor(dropout=DropoutConfig("released_quartet", 0.2))
    assert "spatial+text" in model.notes()["guidance"]
    assert "guidance" not in editor().notes()


def test_without_dropping_only_the_whole_is_trained():
    assert not any(
        trained_patterns(DropoutConfig("any_subset", 0), guidance())[name] for name in ("text", "spatial+text")
    )
    ones = GuidanceConfig(ORDER, dict.fromkeys(ORDER, 1.0))
    assert trained_patterns(DropoutConfig("any_subset", 0), ones) == {"none": True}


def some(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 3, 4, 4), (2, 5, 6), (2, 7, 6))
    return Conditions(*(torch.randn(shape, generator=generator) for shape in shapes))


def first(conditions):
    return Conditions(*(part[:1] for part in (conditions.spatial, conditions.image, conditions.text)))


def test_what_is_hidden_is_the_null_and_nothing_else_changes():
    own, nulls = some(0), first(some(1))
    hidden = torch.tensor([[True, False, True], [False, True, False]])
    mixed = own.where(hidden, nulls)
    for name, column in zip(CONDITIONS, range(3), strict=True):
        for row in range(2):
            wanted = getattr(nulls, name)[0] if hidden[row, column] else getattr(own, name)[row]
            assert torch.equal(getattr(mixed, name)[row], wanted)
    all_hidden = own.without(frozenset(CONDITIONS), nulls)
    assert torch.equal(all_hidden.image, nulls.image.expand(2, -1, -1))


def test_cross_attention_reads_the_words_and_then_the_picture():
    own = some(0)
    assert torch.equal(own.context, torch.cat([own.text, own.image], 1))
    assert torch.equal(Conditions(None, None, own.text).context, own.text)


def test_conditions_are_joined_sample_after_sample():
    one, two = some(0), some(1)
    whole = joined([one, two])
    assert torch.equal(whole.spatial, torch.cat([one.spatial, two.spatial]))
    assert joined([Conditions(None, None, one.text)] * 2).image is None


def test_one_null_serves_training_and_sampling(batch, monkeypatch):
    """Both hide everything, and the network is shown the same tensors: zeros, a black picture, the empty prompt."""
    model = editor(dropout=DropoutConfig("chain", 1.0), guidance=guidance(ORDER, WEIGHTS))
    shown = []
    monkeypatch.setattr(
        DropoutConfig, "draw", lambda self, order, count: torch.ones(count, len(CONDITIONS), dtype=torch.bool)
    )
    forward = model.denoiser.forward
    monkeypatch.setattr(model.denoiser, "forward", lambda *given: shown.append(given[2]) or forward(*given))
    with torch.no_grad():
        model.training_step(batch, 0)
        model.edit(pictures(1), [CROWN], asked(1))
    trained, sampled = shown[0], shown[1]
    for name in CONDITIONS:
        assert torch.allclose(getattr(trained, name)[0], getattr(sampled, name)[0], atol=1e-6), name
    assert (sampled.spatial[0] == 0).all()
    assert torch.allclose(sampled.text[0], model.words([""])[0])
    tokens = model.image_encoder(torch.zeros(1, 3, 32, 32))
    wanted = model.adapter(tokens, torch.zeros(1, 4, 8, 8))
    assert torch.allclose(sampled.image[:1], wanted, atol=1e-6)


def test_chain_shows_one_condition_after_another():
    assert chain(ORDER) == [frozenset(ORDER), frozenset({"spatial", "text"}), frozenset({"text"}), frozenset()]


def test_a_share_beyond_one_is_refused():
    with pytest.raises(UserError, match=r"dropout.share is 1.2"):
        DropoutConfig("chain", 1.2)


def test_the_source_of_a_reconstruction_is_its_target_under_its_own_words(batch, monkeypatch):
    """Every pair a reconstruction: the loss does not see the targets or their words, and with none it does."""

    def loss(share, target):
        torch.manual_seed(4)
        changed = batch | {"target": target, "target_prompt": batch["target_prompt"]}
        return editor(reconstruction=share).training_step(changed, 0)

    other = pictures(4, 9)
    assert torch.equal(loss(1.0, batch["target"]), loss(1.0, other))
    assert not torch.equal(loss(0.0, batch["target"]), loss(0.0, other))
    torch.manual_seed(4)
    renamed = editor(reconstruction=1.0).training_step(batch | {"target_prompt": [PLAIN] * 4}, 0)
    assert torch.equal(renamed, loss(1.0, other))
