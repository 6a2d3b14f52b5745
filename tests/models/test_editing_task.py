"""What an editor is asked, and what it may know."""

import torch

from models.tasks import find, perform, seeds
from models.tasks.editing import Edited, Editing

PROMPTS = (("a person", "a person with a hat"), ("a person", "a person laughing"))


def batch(**changes):
    names = ["val-000000/0000000", "val-000001/0000000"]
    pictures = torch.rand(2, 3, 4, 4)
    fields = {
        "task": "editing", "sample_id": names, "video_id": [name[:10] for name in names], "frame": [0, 0],
        "source": pictures, "target": 1 - pictures, "mask": torch.ones(2, 1, 4, 4), "training_target": None,
        "prompts": PROMPTS,
    }  # fmt: skip
    return Editing(**fields | changes)


class Listening:
    def edit(self, image, instruction, context):
        self.heard = image, instruction, context
        return Edited(image, None)


def test_an_editor_is_given_the_picture_and_the_targets_words_and_knows_no_answer():
    listening, given = Listening(), batch(training_target=torch.rand(2, 3, 4, 4))
    assert isinstance(perform(listening, given), Edited)
    image, instruction, context = listening.heard
    assert image is given.source
    assert instruction == ("a person with a hat", "a person laughing")
    assert context.prompts == PROMPTS
    assert torch.equal(context.seeds, seeds(given.sample_id))
    assert context.truth is None
    assert context.conditions == {}


def test_a_control_asks_for_something_else_and_says_so_throughout():
    listening, asked = Listening(), ("a person", "a person crying")
    perform(listening, batch(asked=asked))
    _, instruction, context = listening.heard
    assert instruction == asked
    assert context.prompts == (("a person", "a person"), ("a person", "a person crying"))


def test_a_users_mask_reaches_everybody_and_the_answers_an_oracle_alone():
    listening, mask = Listening(), torch.zeros(2, 1, 4, 4)
    given = batch(conditions={"mask": mask}, training_target=torch.rand(2, 3, 4, 4))
    perform(listening, given)
    assert listening.heard[2].conditions == {"mask": mask}
    listening.is_oracle = True
    perform(listening, given)
    context = listening.heard[2]
    assert context.truth is given.target
    assert context.conditions == {"mask": mask, "exact_mask": given.mask, "training_target": given.training_target}


def test_the_task_is_found_by_its_name():
    assert find("editing").METHOD == "edit"
