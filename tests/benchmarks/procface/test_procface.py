import numpy as np
import pytest
import torch

from benchmarks.procface import __main__ as procface
from benchmarks.procface.augment import MIRRORED, augmented, mirror, reframed, without_face
from benchmarks.procface.data import FaceSet, draw, open_set, tensors
from benchmarks.procface.fit import Lesson, Recipe, fit, rise_and_fall, write
from benchmarks.procface.scores import MIN_CONFIDENCE, analyse, auc, floors, landmark_error, pose_error
from metrics.procface import ProcFace

PEOPLE, PICTURES = 10, 4


@pytest.fixture(scope="module")
def unseen():
    return {size: draw(FaceSet(PEOPLE, PICTURES, "test", size, seed=1, native=True)) for size in (64, 128)}


@pytest.fixture(scope="module")
def batch(unseen):
    return {name: value[:8] for name, value in tensors(unseen[128]).items()}


def pictures(arrays):
    return torch.from_numpy(arrays["image"]).float() / 255


@pytest.mark.parametrize(("size", "landmarks"), [(64, 5.0), (128, 3.0)])
def test_the_shipped_network_holds_on_unseen_people(unseen, size, landmarks):
    arrays = unseen[size]
    faces = analyse(pictures(arrays))
    assert landmark_error(faces.landmarks, arrays).mean() < landmarks
    assert pose_error(faces.rotation, arrays).mean() < 4
    assert auc(faces.embedding.numpy(), arrays["person"]) > 0.95
    assert (faces.confidence >= MIN_CONFIDENCE).float().mean() > 0.97


def test_the_shipped_network_sees_no_face_where_there_is_none(unseen):
    faceless = without_face(pictures(unseen[128]), torch.Generator().manual_seed(5))
    assert (analyse(faceless).confidence < MIN_CONFIDENCE).float().mean() > 0.9


def test_a_shift_of_the_picture_shifts_the_landmarks(unseen):
    image = pictures(unseen[128])[::8]
    moved = torch.roll(image, (4, -3), (2, 3))
    step = analyse(moved).landmarks - analyse(image).landmarks
    np.testing.assert_allclose(step.mean((0, 1)).numpy(), [-3, 4], atol=0.8)


def test_truth_scores_as_truth(unseen):
    arrays = unseen[64]
    assert landmark_error(torch.from_numpy(arrays["landmarks"]), arrays).max() == 0
    moved = torch.from_numpy(arrays["landmarks"]) + torch.tensor([3.0, 4.0])
    corners = np.linalg.norm(arrays["landmarks"][:, 36] - arrays["landmarks"][:, 45], axis=1)
    np.testing.assert_allclose(landmark_error(moved, arrays), 100 * 5 / corners, rtol=1e-5)
    turned = torch.from_numpy(arrays["rotation"]) @ torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(pose_error(turned, arrays), 90, atol=0.01)


def test_auc_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    embedding, person = rng.standard_normal((12, 3)), np.repeat(np.arange(4), 3)
    cosine = embedding @ embedding.T
    pairs = [(cosine[i, j], person[i] == person[j]) for i in range(12) for j in range(i)]
    wins = [a > b for a, same in pairs if same for b, other in pairs if not other]
    assert auc(embedding, person) == pytest.approx(np.mean(wins))


def test_floors_name_every_error(unseen):
    measured = floors(unseen[64], analyse(pictures(unseen[64])))
    assert all(floor.low <= floor.value <= floor.high for floor in measured.values())


def test_gradients_reach_every_parameter(batch):
    torch.manual_seed(0)
    lesson, rng = Lesson(PEOPLE), torch.Generator().manual_seed(0)
    shown = augmented(batch, rng)
    errors = lesson.training_step(shown, without_face(shown["image"][:4], rng))
    torch.stack(list(errors.values())).sum().backward()
    without = [name for name, value in lesson.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


def test_a_mirror_twice_changes_nothing(batch):
    points = (2 * batch["landmarks"] + 1) / 128 - 1
    shown = {**batch, "image": batch["image"].float() / 255, "points": points}
    once, twice = mirror(shown), mirror(mirror(shown))
    assert sorted(MIRRORED) == list(range(68))
    for name in ("image", "points", "visible", "rotation", "expression"):
        torch.testing.assert_close(twice[name], shown[name])
    assert (once["points"][:, 36, 0] < once["points"][:, 45, 0]).all()  # the person's right eye is still on the left
    torch.testing.assert_close(torch.linalg.det(once["rotation"]), torch.ones(8))


def test_reframing_moves_picture_and_landmarks_alike():
    spot = torch.zeros(6, 3, 128, 128)
    spot[:, :, 40, 80] = 1
    centre = (2 * torch.tensor([80.0, 40.0]) + 1) / 128 - 1
    given = {
        "image": torch.nn.functional.avg_pool2d(spot, 5, 1, 2) * 25,
        "points": centre.expand(6, 68, 2),
        "visible": torch.ones(6, 68, dtype=torch.bool),
        "rotation": torch.eye(3).expand(6, 3, 3),
    }
    shifted = reframed(given, torch.Generator().manual_seed(3))
    axis = (2 * torch.arange(128.0) + 1) / 128 - 1
    mass = shifted["image"][:, 0]
    total = mass.sum((1, 2))
    seen = torch.stack([(mass.sum(1) @ axis) / total, (mass.sum(2) @ axis) / total], 1)
    torch.testing.assert_close(shifted["points"][:, 0], seen, atol=0.01, rtol=0)
    torch.testing.assert_close(torch.linalg.det(shifted["rotation"]), torch.ones(6))


def test_a_set_is_drawn_once_and_read_ever_after(tmp_path):
    spec = FaceSet(2, 2, image_size=32)
    drawn = open_set(spec, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    again = open_set(spec, tmp_path)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    for name, value in draw(spec).items():
        np.testing.assert_array_equal(again[name], value)
        np.testing.assert_array_equal(drawn[name], value)


def test_families_share_nobody():
    train, test = draw(FaceSet(1, 1, image_size=32)), draw(FaceSet(1, 1, "test", image_size=32))
    assert not np.array_equal(train["image"], test["image"])


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule, rates = rise_and_fall(optimiser, 200), []
    for _ in range(200):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    rise, fall = np.arange(10) / 10, 0.5 * (1 + np.cos(np.pi * np.arange(190) / 190))
    np.testing.assert_allclose(rates, 2 * np.concatenate([rise, fall]), atol=1e-11)


def test_a_few_lessons_teach_and_the_same_seed_teaches_the_same(batch, tmp_path):
    recipe = Recipe(steps=3, batch=4)
    first, again = fit(batch, recipe), fit(batch, recipe)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    pooled = first.look(batch["image"].float() / 255)["pooled"]
    torch.testing.assert_close(first.centre, pooled.mean(0), atol=1e-4, rtol=1e-3)
    write(first, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_size < 5e6


def test_the_command_prints_what_to_pin(tmp_path, capsys):
    options = ["train", "--people", "2", "--pictures", "2", "--steps", "2", "--batch", "2"]
    procface.main([*options, "--out", str(tmp_path / "net.safetensors"), "--data", str(tmp_path)])
    digest = capsys.readouterr().out.split('"')[1]
    assert isinstance(ProcFace.load(tmp_path / "net.safetensors", digest), ProcFace)
