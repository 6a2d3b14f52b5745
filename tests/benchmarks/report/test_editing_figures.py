"""Pictures of the editors: what stands where, of methods that are simple enough to know."""

import numpy as np
import torch

from benchmarks.report import editing_figures as figures
from benchmarks.report.panels import GAP, SIDE, enlarged
from models.tasks.editing import Edited, Editing

SIZE = 16
STEP = enlarged(SIZE, figures.TILE) + GAP
PROMPTS = [
    ("a portrait photo of a person in normal clothes", "a portrait photo of a person in a Santa Claus costume"),
    ("a cartoon portrait of a person with a neutral face", "a cartoon portrait of a person laughing"),
]


def batch(count, value):
    """Samples whose pictures are of one grey."""
    grey = torch.full((count, 3, SIZE, SIZE), value)
    return Editing(
        task="editing",
        sample_id=[f"{value}/{i}" for i in range(count)],
        video_id=[f"{value}" for _ in range(count)],
        frame=list(range(count)),
        source=grey,
        target=1 - grey,
        mask=torch.full((count, 1, SIZE, SIZE), 0.25),
        training_target=None,
        prompts=tuple(PROMPTS[i % 2] for i in range(count)),
        conditions={"mask": torch.full((count, 1, SIZE, SIZE), value)},
    )


class Lighter:
    """Adds to a picture, and says where."""

    def __init__(self, by, mask):
        self.by, self.mask, self.asked = by, mask, []

    def edit(self, image, instruction, context):
        self.asked.append((list(instruction), context))
        mask = None if self.mask is None else torch.full_like(image[:, :1], self.mask)
        return Edited(image + self.by, mask)


def shades(picture, columns, rows, sides):
    """The grey in the middle of each tile."""
    pixels = np.asarray(picture)[..., 0]
    top, left = picture.height - rows * STEP - GAP, SIDE if sides else 0
    middle = GAP + STEP // 2
    return [
        [int(pixels[top + middle + r * STEP, left + middle + c * STEP]) for c in range(columns)] for r in range(rows)
    ]


def test_the_first_samples_of_several_batches_are_one_batch():
    shown = figures.first_samples([batch(2, 0.25), batch(3, 0.5)], 4)
    assert shown.sample_id == ["0.25/0", "0.25/1", "0.5/0", "0.5/1"]
    assert shown.source[:, 0, 0, 0].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert shown.prompts == (PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[1])
    assert shown.training_target is None
    assert shown.conditions["mask"][:, 0, 0, 0].tolist() == [0.25, 0.25, 0.5, 0.5]


def test_the_sheet_has_input_masks_ours_truth_and_rivals_in_that_order():
    models = {"ours": Lighter(0.1, 0.75), "rival": Lighter(0.2, None)}
    picture = figures.edits(models, batch(2, 0.4))
    expected = [round(255 * v) for v in (0.4, 0.75, 0.25, 0.5, 0.6, 0.6)]
    assert shades(picture, 6, 2, sides=True) == [expected, expected]
    assert models["ours"].asked[0][0] == [target for _, target in PROMPTS]


def test_a_method_that_finds_no_mask_has_no_column_of_it():
    picture = figures.edits({"ours": Lighter(0.1, None)}, batch(1, 0.4))
    assert shades(picture, 4, 1, sides=True) == [[round(255 * v) for v in (0.4, 0.25, 0.5, 0.6)]]


def test_a_photograph_is_shown_under_each_prompt():
    model = Lighter(0.1, 0.75)
    picture = figures.portrait(model, torch.full((1, 3, SIZE, SIZE), 0.4), PROMPTS)
    assert shades(picture, 2, 3, sides=True) == [[102, 102], [128, 128], [191, 191]]
    (instruction, context), *_ = model.asked
    assert context.prompts == tuple(PROMPTS)
    assert instruction == [target for _, target in PROMPTS]
    assert len(set(context.seeds.tolist())) == 2


@torch.no_grad()
def test_pairs_stand_one_over_the_other():
    class Stage:
        image_size = SIZE

        def draw(self, prompts, own):
            assert len(set(own.tolist())) == len(prompts)
            shade = torch.linspace(0.2, 0.4, len(prompts)).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)
            return shade, shade + 0.4

    assert shades(figures.pairs(Stage(), PROMPTS), 2, 2, sides=True) == [[51, 102], [153, 204]]


def test_labels_leave_out_what_all_targets_have_in_common():
    assert [figures._short(target) for _, target in PROMPTS] == ["in a Santa Claus costume", "laughing"]
    assert figures._short("make it blue") == "make it blue"
