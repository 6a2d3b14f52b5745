"""Guidance over three conditions: eq. 1 in full, its cost, and eq. 3 (m1.7, m3, m7.6)."""

from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from models.errors import UserError
from models.mcdm.conditions import CONDITIONS, Conditions
from models.mcdm.guidance import GuidanceConfig, GuidedEdit
from tests.models.mcdm.conftest import ORDER, WEIGHTS, guidance


def told(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((count, 3, 4, 4), (count, 5, 6), (count, 7, 6))
    return Conditions(*(torch.randn(shape, generator=generator) for shape in shapes))


def network(noisy, levels, given):
    """Something in which the conditions act on one another."""
    image, text = given.image.mean((1, 2)), given.text.std((1, 2))
    return (
        torch.tanh(noisy + given.spatial * text.view(-1, 1, 1, 1)) * (1 + image * text).view(-1, 1, 1, 1)
        + given.spatial
    )


NULLS, TARGET = told(9, 1), told(0)
SOURCE = Conditions(TARGET.spatial, TARGET.image, told(3).text)
NOISY = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(5))
MASK = torch.tensor([0.0, 1.0]).repeat(8).view(1, 1, 4, 4).repeat(2, 1, 1, 1)


def said(given, hidden):
    return network(NOISY, None, given.without(frozenset(hidden), NULLS))


def long_form(given, order, weights):
    """Eq. 1 as it stands: a difference for each condition."""
    total, hidden = said(given, order), set(order)
    for name in order:
        without = said(given, hidden)
        hidden = hidden - {name}
        total = total + weights[name] * (said(given, hidden) - without)
    return total


@pytest.mark.parametrize("order", list(permutations(CONDITIONS)))
def test_guidance_is_the_papers_sum_of_differences_in_any_order(order):
    guided = GuidedEdit(network, TARGET, NULLS, guidance(order))
    assert_close(guided(NOISY, 3), long_form(TARGET, order, WEIGHTS))
    assert guided.evaluations == 4


def test_weights_of_one_are_one_full_evaluation():
    guided = GuidedEdit(network, TARGET, NULLS, GuidanceConfig(ORDER, dict.fromkeys(ORDER, 1.0)))
    assert_close(guided(NOISY, 3), said(TARGET, []), rtol=0, atol=0)
    assert guided.evaluations == 1


def test_each_weight_acts_alone():
    for name in ORDER:
        weights = dict.fromkeys(ORDER, 1.0) | {name: 2.5}
        guided = GuidedEdit(network, TARGET, NULLS, GuidanceConfig(ORDER, weights))(NOISY, 3)
        assert_close(guided, long_form(TARGET, ORDER, weights))
        assert (guided - said(TARGET, [])).abs().max() > 1e-3


def test_equal_weights_of_neighbours_need_an_evaluation_less():
    weights = {"image": 1.5, "spatial": 1.5, "text": 2.0}
    guided = GuidedEdit(network, TARGET, NULLS, GuidanceConfig(ORDER, weights))
    assert_close(guided(NOISY, 3), long_form(TARGET, ORDER, weights))
    assert guided.evaluations == 3


def blended(mask, source=SOURCE, order=ORDER):
    return GuidedEdit(network, TARGET, NULLS, guidance(order), source, mask)


@pytest.mark.parametrize(
    ("order", "cost"), [(ORDER, 5), (["spatial", "image", "text"], 5), (["text", "image", "spatial"], 7)]
)
def test_mask_guided_prediction_is_the_papers_blend_of_two_guided_ones(order, cost):
    """Eq. 3 by two whole guided predictions; what does not see the words is asked once."""
    both = blended(MASK, order=order)
    ours, kept = long_form(TARGET, order, WEIGHTS), long_form(SOURCE, order, WEIGHTS)
    assert_close(both(NOISY, 3), MASK * ours + (1 - MASK) * kept)
    assert both.evaluations == cost


def test_a_mask_of_ones_is_the_edit_and_one_of_zeros_the_reconstruction():
    assert_close(blended(torch.ones_like(MASK))(NOISY, 3), long_form(TARGET, ORDER, WEIGHTS))
    assert_close(blended(torch.zeros_like(MASK))(NOISY, 3), long_form(SOURCE, ORDER, WEIGHTS))


def test_equal_words_make_the_mask_idle():
    assert_close(blended(MASK, source=TARGET)(NOISY, 3), long_form(TARGET, ORDER, WEIGHTS))


def test_conditions_are_put_together_once():
    guided = GuidedEdit(network, TARGET, NULLS, guidance())
    before = guided.told
    for level in (900, 500, 3):
        guided(NOISY, level)
    assert guided.told is before
    assert guided.evaluations == 12


@pytest.mark.parametrize(
    ("order", "weights", "message"),
    [
        (["text"], {"text": 2.0, "image": 3.0}, "weight of 'image' has no effect"),
        (["image", "text"], {"text": 2.0}, "none for 'image'"),
        (["image", "image", "text"], {"text": 2.0, "image": 1.0}, r"each of spatial, image, text once"),
        (["image", "depth", "text"], {}, r"guidance.order is"),
        (["image"], {"image": 1.0}, "name text"),
    ],
)
def test_an_order_and_weights_that_do_not_fit_are_refused(order, weights, message):
    with pytest.raises(UserError, match=message):
        GuidanceConfig(order, weights)
