"""Released files, made here of random weights, draw what an independent restatement of the released code draws."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.cli import instantiate_module
from torch.utils.data import DataLoader
from torchvision.models import resnet18, resnet50

from benchmarks.released import convert
from models.dagan import DaGAN
from models.dagan.released import ours
from models.tasks import Context
from tests.models import released_files as files
from tests.models.released_reference import animate
from tests.models.smallest_dagan import pairs

MADE = {
    "DaGAN": files.SMALL,
    "with the SPADE generator": replace(files.SMALL, spade=True),
    "with a ResNet-50": replace(files.SMALL, layers=50),
    "of ten keypoints": replace(files.SMALL, keypoints=10, attention=False),
    "FOMM, vox-adv": files.FOMM,
    "FOMM, vox": files.VOX,
}


def converted(folder, out="made.ckpt"):
    depth = folder if (folder / "encoder.pth").exists() else None
    told = convert(folder / "released.pth.tar", depth, folder / out)
    return DaGAN.load_from_checkpoint(folder / out, weights_only=True).eval(), told


def doubled(held):
    return {part: {k: v.double() if v.is_floating_point() else v for k, v in w.items()} for part, w in held.items()}


def same_pictures(model, held, size=64, atol=1e-5):
    torch.manual_seed(5)
    source, driving = torch.rand(1, 3, size, size), torch.rand(2, 3, size, size)
    double, exact = doubled(held), deepcopy(model).double()
    for initial in (None, driving[:1]):
        expected = animate(double, *(None if x is None else x.double() for x in (source, driving, initial)))
        assert expected.std() > 0.02  # it is a picture, not a plane
        assert (expected[0] - expected[1]).abs().max() > 100 * atol  # that depends on the driving frame
        frames = reenacted(model, source, driving, initial).double()
        torch.testing.assert_close(frames, expected, atol=atol, rtol=0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)  # no part is rounded to float32
            frames = reenacted(exact, *(None if x is None else x.double() for x in (source, driving, initial)))
        torch.testing.assert_close(frames, expected, atol=1e-10, rtol=0)


def reenacted(model, source, driving, initial):
    context = Context() if initial is None else Context("relative", initial)
    return model.reenact(source, driving[None], context)[0].detach()


@pytest.mark.parametrize(
    ("sizes", "part", "made"),
    [
        (files.Sizes(), "generator", files.generator),
        (files.Sizes(spade=True), "spade", files.generator),
        (files.Sizes(), "kp_detector", files.detector),
        (files.Sizes(), "discriminator", files.discriminator),
        (files.Sizes(), "dec18", files.depth_decoder),
    ],
)
def test_the_files_made_here_have_the_released_names_shapes_and_order(sizes, part, made):
    assert list(made(sizes).items()) == list(files.published(part).items())


@pytest.mark.parametrize(("layers", "network"), [(18, resnet18), (50, resnet50)])
def test_the_depth_encoders_made_here_have_torchvisions_names_and_shapes(layers, network):
    with torch.device("meta"):
        expected = {f"encoder.{name}": tuple(t.shape) for name, t in network().state_dict().items()}
    assert files.trunk(files.Sizes(layers=layers)) == expected


@pytest.mark.parametrize("name", MADE)
def test_a_released_file_draws_the_released_pictures(name, tmp_path):
    held = files.save(tmp_path, MADE[name])
    same_pictures(converted(tmp_path)[0], held)


@pytest.mark.parametrize("options", [{"prefix": "module."}, {"legacy": True}])
def test_files_of_several_processes_and_of_old_versions_are_read(options, tmp_path):
    held = files.save(tmp_path, files.SMALL, **options)
    same_pictures(converted(tmp_path)[0], held)


@pytest.mark.slow
@pytest.mark.parametrize("spade", [False, True])
def test_files_of_the_released_size_draw_the_released_picture(spade, tmp_path, monkeypatch):
    held = doubled(files.save(tmp_path, files.Sizes(spade=spade)))
    model = converted(tmp_path)[0].double()
    source, driving = torch.rand(2, 1, 3, 128, 128, dtype=torch.float64)  # at 256 four times as long
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # no part is rounded to float32
    with torch.no_grad():
        expected, frames = animate(held, source, driving), reenacted(model, source, driving, None)
    assert expected.std() > 0.02
    torch.testing.assert_close(frames, expected, atol=1e-10, rtol=0)


def test_the_spade_generator_has_the_released_tensors_exactly(dagan):
    with torch.device("meta"):
        model = dagan("variants/dagan/spade.yaml", image_size=256).generator
    expected = {ours(name): shape for name, shape in files.published("spade").items()}
    assert len(expected) == 248
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == expected
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(67.55, abs=0.005)


@pytest.fixture
def going_on(tmp_path):
    """A fit of three steps an epoch from released weights and moments: what it asked of Adam at each step."""
    held = files.networks(files.FOMM)
    files.save(tmp_path, files.FOMM, epoch=1, **{f"optimizer_{part}": files.adam(held[part]) for part in held})
    convert(tmp_path / "released.pth.tar", None, tmp_path / "made.ckpt")

    def run(epochs, start="made.ckpt", **optimiser):
        arguments = torch.load(tmp_path / "made.ckpt", weights_only=True)["hyper_parameters"] | {"image_size": 64}
        arguments["perceptual"] |= {"kind": "pyramid", "scales": [1]}
        arguments["optimiser"] |= optimiser
        model = instantiate_module(DaGAN, {k: v for k, v in arguments.items() if k != "_instantiator"})
        asked = []

        def before(*_):
            groups = [optimiser.param_groups[0] for optimiser in model.trainer.optimizers]
            asked.append([(group["lr"], *group["betas"]) for group in groups])

        model.on_train_batch_start = before
        quiet = {"logger": False, "enable_checkpointing": False, "barebones": True}
        trainer = Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
        trainer.fit(model, DataLoader([pairs()] * 3, batch_size=None), ckpt_path=tmp_path / start, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return asked, model

    return run


def test_a_fit_from_released_weights_has_the_rate_and_the_betas_that_are_asked_for(going_on):
    asked, model = going_on(3, lr=2e-5, betas=[0.4, 0.9])
    assert asked == [[(2e-5, 0.4, 0.9)] * 2] * 3
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 2e-5
    assert [schedule.base_lrs for schedule in model.lr_schedulers()] == [[2e-5]] * 2


def test_a_fit_from_released_weights_that_stopped_goes_on_at_the_rate_of_its_schedule(going_on):
    rates = {"lr": 2e-5, "cosine": True}
    asked, model = going_on(3, **rates)
    steps = int(model.trainer.estimated_stepping_batches)
    assert asked == [[(2e-5 * model.optimiser.factor(i, 3, steps), 0.5, 0.999)] * 2 for i in range(3)]
    asked, model = going_on(4, "3.ckpt", **rates)
    steps = int(model.trainer.estimated_stepping_batches)
    assert asked == [[(2e-5 * model.optimiser.factor(i, 4, steps), 0.5, 0.999)] * 2 for i in range(3, 6)]
