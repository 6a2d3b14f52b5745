import numpy as np
import pytest
import torch

from benchmarks.procface.data import tensors
from benchmarks.procface.fit import write
from benchmarks.proxyedit import __main__ as proxyedit
from benchmarks.proxyedit.card import direction_table, in_tables, kind_table, right, taken_for_unedited, write_card
from benchmarks.proxyedit.data import CHUNK, DRIFT, FAMILIES, KINDS, STYLES, EditSet, draw, open_set
from benchmarks.proxyedit.fit import EditRecipe, balanced, fit, lesson, reframed, varied
from datamodules.world.export.media import to_pixels
from datamodules.world.seeds import stream
from datamodules.world.sets import edit_pairs
from datamodules.world.sets.edits import EDITS, edit_pair
from metrics.proxyedit import CLASSES, ProxyEdit, shipped_proxyedit

PAIRS = 32  # each edit twice in each style


@pytest.fixture(scope="module")
def unseen():
    return tensors(draw(EditSet(PAIRS, "test", seed=1)))


@pytest.fixture
def network():
    return shipped_proxyedit(torch.device("cpu"))


def images(data):
    return data["image"].float() / 255


def test_the_shipped_classifier_holds_on_unseen_people(unseen, network):
    correct = right(network, unseen)
    for place, least in ((0, 0.85), (1, 0.85), (2, 0.8)):
        assert correct[unseen["kind"] == place].double().mean() >= least, KINDS[place]


def test_what_it_takes_for_unedited_is_counted_among_faceless_pictures(unseen):
    class Blind(ProxyEdit):
        def forward(self, images):
            logits = torch.zeros(len(images), len(CLASSES))
            logits[:, 1] = images.std((1, 2, 3)) - 0.08  # flat ones alone are none
            return logits, logits

    share = taken_for_unedited(Blind(), unseen, 0)
    assert share == pytest.approx(0.25, abs=0.15)  # a quarter is flat; some corners are too


def test_a_set_holds_each_edit_in_both_styles_and_its_exact_pictures(unseen):
    pairs = {name: value.view(PAIRS, len(KINDS), *value.shape[1:]) for name, value in unseen.items()}
    assert (pairs["label"][:, 0] == 0).all()
    assert torch.equal(pairs["label"][:, 1], pairs["label"][:, 2])
    combined = list(zip(pairs["label"][:, 1].tolist(), pairs["style"][:, 1].tolist(), strict=True))
    assert {combined.count((edit, style)) for edit in range(1, 9) for style in range(2)} == {2}
    pair = edit_pair(stream(1, FAMILIES["test"], 11), EDITS[3], STYLES[1], 1.0, 64)
    for kind, picture in enumerate((pair.source, pair.target, pair.training_target)):
        np.testing.assert_array_equal(pairs["image"][11, kind].permute(1, 2, 0).numpy(), to_pixels(picture[None])[0])
    assert CLASSES[pairs["label"][11, 1]] == EDITS[3]


def test_drift_to_learn_from_varies_and_that_of_the_test_is_of_severity_one(unseen):
    taught = draw(EditSet(1, "train", image_size=32))["image"]
    place = stream(0, FAMILIES["train"], 0)
    shown = [edit_pair(place, EDITS[0], STYLES[0], severity, 32).training_target for severity in (1.0, *DRIFT)]
    assert not any(np.array_equal(taught[2].transpose(1, 2, 0), to_pixels(x[None])[0]) for x in shown)
    pair = edit_pair(place, EDITS[0], STYLES[0], 0.0, 32)
    for kind, picture in enumerate((pair.source, pair.target)):
        np.testing.assert_array_equal(taught[kind].transpose(1, 2, 0), to_pixels(picture[None])[0])


def test_nobody_is_in_a_set_of_edits_or_in_both_families():
    taken = {*edit_pairs._FAMILIES.values(), *range(9)}  # the sets, rigs, sheets, and people of the face network
    assert len(set(FAMILIES.values())) == 2
    assert not set(FAMILIES.values()) & taken


def test_a_set_is_drawn_once_and_read_ever_after(tmp_path):
    spec = EditSet(2, image_size=16)
    drawn = open_set(spec, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    again = open_set(spec, tmp_path)
    assert len(stamps) == -(-2 // CHUNK)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    for name, value in draw(spec).items():
        np.testing.assert_array_equal(again[name], value)
        np.testing.assert_array_equal(drawn[name], value)


def test_the_style_of_tables_is_costumes_on_photographs_and_expressions_on_cartoons(unseen):
    usual = in_tables(unseen)
    for label, style, chosen in zip(unseen["label"][1::3], unseen["style"][1::3], usual[1::3], strict=True):
        _, wanted = edit_pairs.edit_of(int(label) - 1)
        assert bool(chosen) == (STYLES[style] == wanted)
    assert torch.equal(usual[0::3], usual[1::3])


def test_gradients_reach_every_parameter(unseen):
    torch.manual_seed(0)
    network = ProxyEdit().train()
    lesson(network, images(unseen)[:24], unseen["label"][:24]).backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


def test_unedited_pictures_are_drawn_as_often_as_those_of_three_edits():
    label = torch.tensor([0] * 10 + [1] * 4 + [2] * 2)
    weights = balanced(label)
    drawn = [float(weights[label == place].sum() / weights.sum()) for place in range(3)]
    assert drawn == pytest.approx([3 / 5, 1 / 5, 1 / 5])


def test_reframing_mirrors_half_of_the_pictures_and_moves_all_a_little():
    spot = torch.zeros(400, 3, 64, 64)
    spot[:, :, 20:24, 8:12] = 1  # left of the middle
    moved = reframed(spot, torch.Generator().manual_seed(0))[:, 0]
    axis = torch.arange(64.0)
    mass = moved.sum((1, 2))
    x, y = (moved.sum(1) @ axis) / mass, (moved.sum(2) @ axis) / mass
    assert 0.42 < (x > 32).double().mean() < 0.58
    assert (y - 21.5).abs().max() < 14
    assert (y - 21.5).abs().mean() > 1


def test_variations_keep_the_range_and_change_every_picture(unseen):
    shown = images(unseen)[:8]
    changed = varied(shown, torch.Generator().manual_seed(0))
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert ((changed - shown).abs().amax((1, 2, 3)) > 0.02).all()


def test_a_few_lessons_teach_and_the_same_seed_teaches_the_same(unseen, tmp_path):
    recipe = EditRecipe(steps=3, batch=8)
    first, again = fit(unseen, recipe), fit(unseen, recipe)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    write(first, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_size < 300_000


def test_the_command_prints_what_to_pin(tmp_path, capsys):
    options = ["train", "--pairs", "2", "--steps", "2", "--batch", "4", "--data", str(tmp_path)]
    proxyedit.main([*options, "--out", str(tmp_path / "net.safetensors")])
    digest = capsys.readouterr().out.split('"')[1]
    assert isinstance(ProxyEdit.load(tmp_path / "net.safetensors", digest), ProxyEdit)


def test_the_cards_numbers_are_those_of_the_pictures(unseen, network):
    correct = right(network, unseen)[unseen["kind"] == KINDS.index("perfect")]
    line = next(line for line in kind_table(network, unseen).splitlines() if line.startswith("| perfect targets"))
    assert f"| {correct.double().mean():.3f} " in line
    assert "| the copied input | 0.000 |" in direction_table(network, unseen)


def test_a_card_says_what_was_measured(tmp_path):
    write_card(tmp_path / "card.md", 16, tmp_path)
    text = (tmp_path / "card.md").read_text()
    assert "16 pairs of people whom it has never seen" in text
    assert text.count("\n| blur ") == 5
    assert "{" not in text
