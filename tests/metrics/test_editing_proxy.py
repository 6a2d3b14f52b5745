import math

import pytest
import torch
from scipy.stats import hmean
from torchvision.transforms.functional import gaussian_blur

from datamodules.world.seeds import stream
from datamodules.world.sets.edits import EDITS, edit_pair
from metrics.base import Status
from metrics.editing import Edit
from metrics.editing_proxy import (
    ProxyEditAccuracy,
    ProxyEditDirection,
    ProxyEditScore,
    edit_direction,
    harmonic_mean,
)
from metrics.editing_regions import outside_of
from metrics.face import CSIM
from metrics.pictures import as_saved
from metrics.proxyedit import CLASSES, WORDS, ProxyEdit, classes_of
from models.errors import UserError

SHOWN = (("santa", "realistic"), ("royal", "realistic"), ("laughing", "cartoon"), ("shocked", "cartoon"))
NAMES = [f"{edit}/0" for edit, _ in SHOWN]


@pytest.fixture(scope="module")
def pairs():
    """Pairs of people of the tests' own, as the metrics take them."""
    drawn = [edit_pair(stream(0, 10, 9100 + i), *shown, 1.0, 64) for i, shown in enumerate(SHOWN)]
    parts = {"target": "target", "source": "source", "mask": "mask", "training": "training_target"}
    batch = {name: torch.stack([getattr(pair, part) for pair in drawn]) for name, part in parts.items()}
    return batch | {"asked": [pair.target_prompt for pair in drawn], "plain": [pair.source_prompt for pair in drawn]}


def score(pairs, preds):
    metric = ProxyEditScore()
    metric.update(preds, *(pairs[name] for name in ("target", "source", "mask", "training")), NAMES)
    return metric


def of_words(kind, pairs, preds, asked=None):
    metric = kind()
    metric.update(preds, pairs["target"], pairs["source"], asked or pairs["asked"], NAMES)
    return metric


def values(metric):
    scores = metric.per_sample()
    return [scores[metric.sample_key(name)][0] for name in NAMES]


def test_the_classes_are_the_worlds_edits_and_its_words_tell_them(pairs):
    assert ("none", *EDITS) == CLASSES
    assert [CLASSES[place] for place in classes_of(pairs["asked"])] == [edit for edit, _ in SHOWN]
    assert classes_of(pairs["plain"]).tolist() == [0] * 4
    assert classes_of(["a portrait photo of a person as a pirate", "", "laughing at a person"]).tolist() == [-1] * 3
    assert len({phrase for phrases in WORDS.values() for phrase in phrases}) == len(CLASSES) + 1


@pytest.mark.parametrize("style", ["realistic", "cartoon"])
def test_every_edits_own_words_are_known_in_both_styles(style):
    kind = {"realistic": "a portrait photo of a person", "cartoon": "a cartoon portrait of a person"}[style]
    for place, phrases in enumerate(WORDS.values()):
        assert classes_of([f"{kind} {phrase}" for phrase in phrases]).tolist() == [place] * len(phrases)


def test_the_direction_is_the_cosine_of_two_changes():
    source = torch.tensor([[1.0, 1.0]] * 5)
    target = torch.tensor([[3.0, 1.0]] * 4 + [[1.0, 1.0]])
    preds = torch.tensor([[9.0, 1.0], [1.0, 5.0], [0.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    found = edit_direction(preds, target, source)
    assert found[:4].tolist() == pytest.approx([1, 0, -1, 0])
    assert found[4].isnan()
    assert float(edit_direction(torch.tensor([[2.0, 2.0]]), target[:1], source[:1])) == pytest.approx(math.sqrt(0.5))


def test_the_harmonic_mean_is_scipys_and_0_where_a_part_is():
    parts = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts[5, 1] = 0
    assert harmonic_mean(parts).tolist() == pytest.approx(hmean(parts.numpy(), axis=1).tolist())
    assert float(harmonic_mean(parts)[5]) == 0
    assert harmonic_mean(torch.tensor([[1.0, torch.nan]])).isnan()


def test_the_accuracy_is_that_of_the_likeliest_class(pairs):
    logits = torch.zeros(4, len(CLASSES))
    logits[0, CLASSES.index("santa")], logits[1, CLASSES.index("santa")], logits[2, 0] = 3, 3, 1
    logits[3, CLASSES.index("shocked")] = 0.1
    metric = ProxyEditAccuracy(lambda pictures: (logits, torch.zeros(4, 2)))
    metric.update(pairs["source"], pairs["target"], pairs["source"], pairs["asked"], NAMES)
    assert values(metric) == [1, 0, 0, 1]


def test_the_classifier_sees_perfect_edits_and_none_in_copies(pairs):
    assert values(of_words(ProxyEditAccuracy, pairs, pairs["target"])) == [1] * 4
    assert values(of_words(ProxyEditAccuracy, pairs, pairs["source"])) == [0] * 4
    assert values(of_words(ProxyEditAccuracy, pairs, pairs["source"], pairs["plain"])) == [1] * 4
    assert values(of_words(ProxyEditDirection, pairs, pairs["target"])) == pytest.approx([1] * 4)
    assert values(of_words(ProxyEditDirection, pairs, pairs["source"])) == [0] * 4
    assert min(values(of_words(ProxyEditDirection, pairs, pairs["training"]))) > 0.5


@pytest.mark.parametrize("kind", [ProxyEditAccuracy, ProxyEditDirection])
def test_words_of_no_known_edit_have_no_value_and_a_status(kind, pairs):
    metric = of_words(kind, pairs, pairs["target"], ["as a pirate", *pairs["asked"][1:]])
    scores = metric.per_sample()
    value, status = scores[metric.sample_key(NAMES[0])]
    assert math.isnan(value)
    assert status == Status.FAILED
    assert metric.compute() == pytest.approx(1)


def test_as_many_words_as_pictures_are_asked_for(pairs):
    with pytest.raises(ValueError, match="got 4 pictures and 1 words; pass one of each"):
        of_words(ProxyEditAccuracy, pairs, pairs["target"], ["laughing"])


def test_the_perfect_edit_scores_one_and_the_copied_input_nothing(pairs):
    assert values(score(pairs, pairs["target"])) == pytest.approx([1] * 4, abs=1e-9)
    assert values(score(pairs, pairs["source"])) == [0] * 4


def test_copying_the_input_wins_against_no_honest_attempt(pairs):
    rng = torch.Generator().manual_seed(0)
    half = (pairs["source"] + pairs["target"]) / 2
    noisy = (pairs["target"] + 0.08 * torch.randn(half.shape, generator=rng)).clamp(0, 1)
    blurred = gaussian_blur(pairs["target"], [7, 7], 1.0)
    copied = values(score(pairs, pairs["source"]))
    for attempt in (half, noisy, blurred, 0.8 * pairs["source"] + 0.2 * pairs["target"], pairs["training"]):
        assert all(own > copy for own, copy in zip(values(score(pairs, attempt)), copied, strict=True))


def test_the_parts_are_shares_of_distances_and_of_likeness(pairs):
    half = as_saved((pairs["source"] + pairs["target"]) / 2)
    target, source = (as_saved(pairs[name]) for name in ("target", "source"))
    kept, reached, left = ProxyEditScore().parts(Edit(half, target, source, pairs["mask"].double(), None)).unbind(1)
    torch.testing.assert_close(kept, torch.ones(4, dtype=torch.float64), atol=1e-9, rtol=0)
    shown, goal, before = (ProxyEdit.load()(pictures.float())[1].double() for pictures in (half, target, source))
    features = 1 - (shown - goal).norm(dim=1) / (before - goal).norm(dim=1)
    assert features.min() > 0.2
    torch.testing.assert_close(2 * reached - features, torch.full_like(features, 0.5), atol=0.02, rtol=0)
    alike = [CSIM("procface"), CSIM("procface")]
    for metric, pictures in zip(alike, (half, target), strict=True):
        metric.update(pictures, source, NAMES)
    own, best = (torch.tensor(values(metric), dtype=torch.float64) for metric in alike)
    torch.testing.assert_close(left, (own / best).clamp(0, 1), atol=1e-6, rtol=0)


def test_what_is_kept_is_the_surroundings_contrast_that_no_error_takes(pairs):
    target, source = (as_saved(pairs[name]) for name in ("target", "source"))
    mask = pairs["mask"].double()
    outside = outside_of(mask)
    dimmed = as_saved(torch.where(outside, source - 0.02, target))
    found = ProxyEditScore().parts(Edit(dimmed, target, source, mask, None))[:, 0].tolist()
    for i, share in enumerate(found):
        pixels = source[i][:, outside[i, 0]]
        error = (dimmed[i] - source[i])[:, outside[i, 0]].abs().mean()
        assert share == pytest.approx(float(1 - error / (pixels - pixels.mean(1, keepdim=True)).abs().mean()))


def test_a_flat_picture_another_person_and_a_spoilt_background_lose(pairs):
    perfect = pairs["target"]
    assert values(score(pairs, torch.full_like(perfect, 0.5))) == [0] * 4
    assert max(values(score(pairs, perfect.roll(1, 0)))) < 0.5
    spoilt = torch.where(pairs["mask"] > 0, perfect, 0.7 * perfect + 0.1)
    assert all(0 < value < 0.97 for value in values(score(pairs, spoilt)))


def test_an_edit_of_nothing_has_no_score(pairs):
    nothing = pairs | {"mask": torch.zeros_like(pairs["mask"])}
    metric = score(nothing, pairs["source"])
    assert {int(status) for _, status in metric.per_sample().values()} == {Status.EMPTY_MASK}
    assert metric.compute().isnan()
    whole = score(pairs | {"mask": torch.ones_like(pairs["mask"])}, pairs["target"])
    assert all(map(math.isnan, values(whole)))


def test_names_say_that_they_are_proxies():
    for kind in (ProxyEditAccuracy, ProxyEditDirection, ProxyEditScore):
        assert kind.card.name.startswith("proxy-edit")
        assert "not comparable with published numbers" in kind.card.protocol


def test_the_file_of_the_classifier_is_the_one_that_was_pinned(tmp_path):
    with pytest.raises(UserError, match="is not at"):
        ProxyEdit.load(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="is not the edit classifier that this version ships"):
        ProxyEdit.load(tmp_path / "other.safetensors")


def test_larger_pictures_are_looked_at_as_they_are_at_64_px(pairs):
    network = ProxyEdit.load()
    small, large = (
        network(size(pairs["target"]))[0]
        for size in (lambda x: x, lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    )
    assert torch.equal(small.argmax(1), large.argmax(1))
