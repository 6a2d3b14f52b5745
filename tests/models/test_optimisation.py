import math
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from models.depth_regression import DepthRegression
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.editing.spade import SPADE
from models.errors import UserError
from models.lipflow.optimisation import LiPFlowOptimiserConfig
from models.optimisation import length_of_fit
from tests.avatar_toy import batch
from tests.models.conftest import build
from tests.models.editing.test_spade import SMALL


@pytest.mark.parametrize(
    ("epochs", "steps", "by_epochs", "to_the_end", "length"),
    [
        (20, 100, True, True, (20, 100)),
        (0, 0, True, True, (1, 0)),
        (-1, 7, False, True, (1, 7)),
        (-1, math.inf, False, False, (1, 1)),
        (5, -1, False, False, (5, 1)),
        (5, -1, False, True, None),
        (-1, 7, True, False, None),
        (-1, math.inf, False, True, None),
    ],
)
def test_the_length_of_a_fit_is_asked_for_only_where_a_schedule_needs_it(epochs, steps, by_epochs, to_the_end, length):
    trainer = SimpleNamespace(max_epochs=epochs, max_steps=-1, estimated_stepping_batches=steps)
    if length:
        assert length_of_fit(trainer, by_epochs, to_the_end) == length
        return
    with pytest.raises(UserError, match=rf"^The learning rate follows .* trainer.max_epochs is {epochs} and .*; set"):
        length_of_fit(trainer, by_epochs, to_the_end)


def test_a_fit_of_the_depth_stage_by_steps_alone_keeps_its_rate_or_is_refused(depth_stage, fit):
    from tests.models.test_dagan_depth_stage import SMALLEST, TINY, triplets

    by_steps = {"max_epochs": -1, "max_steps": 1}
    model = depth_stage(TINY, **SMALLEST, optimiser={"lr": 0.01, "cosine": False, "milestones": []})
    fit(model, triplets(), 1, **by_steps)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 0.01
    with pytest.raises(UserError, match=r"trainer.max_epochs is -1"):
        fit(depth_stage(TINY, **SMALLEST, optimiser={"milestones": [15]}), triplets(), 1, **by_steps)


@pytest.mark.parametrize("method", ["dagan", "lipflow"])
def test_a_fit_by_steps_alone_with_a_rate_of_its_epochs_is_refused(dagan, make, fit, method):
    from tests.models.smallest_dagan import SMALLEST, pairs

    if method == "dagan":
        model, given = dagan("tiny/dagan.yaml", **SMALLEST, optimiser={"milestones": [15]}), pairs()
    else:
        model, given = make(optimiser={"decay": 0.95, "final_lr": None}), batch()
    with pytest.raises(UserError, match=r"trainer.max_epochs is -1"):
        fit(model, given, 1, max_epochs=-1, max_steps=2)


ENDLESS = SimpleNamespace(max_epochs=-1, max_steps=-1, estimated_stepping_batches=math.inf)


def diffusion(**changes):
    config = DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, **{"warm_up": 0.0, "cosine": False} | changes)
    module = torch.nn.Linear(2, 2)
    module.configure_optimizers = lambda: config.configured(module)
    return module


def regression(**changes):
    return build(
        DepthRegression, "variants/joint/regression.yaml", optimiser={"warm_up": 0.0, "cosine": False} | changes
    )


def spade(constant=1.0):
    return build(SPADE, "variants/editing/spade_tiny.yaml", **SMALL, rates={"constant": constant})


@pytest.mark.parametrize("method", [diffusion, regression, spade])
def test_an_endless_fit_keeps_a_rate_that_stays(method):
    model = method()
    model._trainer = model.trainer = ENDLESS
    _, schedules = model.configure_optimizers()
    schedule = schedules[0]["scheduler"] if isinstance(schedules[0], dict) else schedules[0]
    assert schedule.lr_lambdas[0](10**6) == 1.0


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        *product([diffusion, regression], [{"cosine": True}, {"warm_up": 0.1}]),
        (spade, {"constant": 0.5}),
    ],
)
def test_an_endless_fit_with_a_schedule_to_its_end_is_refused(method, changes):
    model = method(**changes)
    model._trainer = model.trainer = ENDLESS
    with pytest.raises(UserError, match=r"^The learning rate follows the length of the fit"):
        model.configure_optimizers()


def test_the_rate_of_avatars_decays_by_whole_epochs():
    config = LiPFlowOptimiserConfig(1.0, 1.0, (0.9, 0.999), 0.5, None)
    assert [config.factor(step, 2, 10) for step in (0, 4, 5, 9, 10)] == [1, 1, 0.5, 0.5, 0.25]
