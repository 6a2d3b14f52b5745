import math
from types import SimpleNamespace

import pytest

from models.errors import UserError
from models.optimisation import length_of_fit
from tests.avatar_toy import batch


@pytest.mark.parametrize(
    ("epochs", "steps", "by_epochs", "to_the_end", "length"),
    [
        (20, 100, True, True, (20, 100)),
        (0, 0, True, True, (1, 0)),
        (-1, 7, False, True, (1, 7)),
        (-1, math.inf, False, False, (1, 1)),
        (-1, 7, True, False, None),
        (-1, math.inf, False, True, None),
    ],
)
def test_the_length_of_a_fit_is_asked_for_only_where_a_schedule_needs_it(epochs, steps, by_epochs, to_the_end, length):
    trainer = SimpleNamespace(max_epochs=epochs, estimated_stepping_batches=steps)
    if length:
        assert length_of_fit(trainer, by_epochs, to_the_end) == length
        return
    with pytest.raises(UserError, match=r"^The learning rate follows the epochs .* trainer.max_epochs is -1; set"):
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
    from tests.models.test_dagan import SMALLEST, pairs

    if method == "dagan":
        model, given = dagan("tiny/dagan.yaml", **SMALLEST, optimiser={"milestones": [15]}), pairs()
    else:
        model, given = make(optimiser={"decay": 0.95, "final_lr": None}), batch()
    with pytest.raises(UserError, match=r"trainer.max_epochs is -1"):
        fit(model, given, 1, max_epochs=-1, max_steps=2)
