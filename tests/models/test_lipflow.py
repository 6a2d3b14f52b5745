"""The five models and their switches, built from the YAML files."""

from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from models.lipflow.latent import divergence
from models.lipflow.references import MeanAvatar, NextAvatarFrame, TrueMesh, filled
from models.rendering import mesh
from models.tasks import perform
from models.tasks.avatar import observation
from tests import avatar_toy as toy
from tests.avatar_toy import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_reconstructs_and_fits(make, fit, name):
    model = make(name)
    fit(model, toy.batch(), 1)
    for target in ("dome", "headset", "keypoints", "frontal"):
        estimate = perform(model.eval(), toy.batch(3, 3, target=target))
        assert estimate.vertices.shape == (3, 16, 3)
        assert estimate.renders.shape == (3, 3, 3, toy.SIZE, toy.SIZE)
        assert 0 <= estimate.renders.min() <= estimate.renders.max() <= 1
        direct = target == "dome" or (name.startswith(("enc", "reg")) and target == model.drive)
        assert (estimate.report is None) == direct


def silent(model, name):
    """May have no gradient: the frozen avatar of Reg, and the decoder where only codes are learnt."""
    return model.variant == "reg" and name.startswith("avatar.")


@pytest.mark.parametrize("name", MODELS)
def test_every_trainable_parameter_gets_a_gradient(make, fit, name):
    model = make(name)
    batch = toy.batch(4)
    batch.views.cameras.number[:] = torch.tensor([[0], [1], [2], [1]])
    fit(model, batch, 2)  # two steps, because the flow's last layers start at zero
    without = {n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert {n for n in without if not silent(model, n)} == set()


def test_the_frozen_avatar_of_the_regressor_does_not_move(make, fit):
    model = make("reg")
    before = {k: v.clone() for k, v in model.avatar.state_dict().items()}
    moved = {k: v.clone() for k, v in model.prior.state_dict().items()}
    fit(model, toy.batch(), 3)
    assert all(torch.equal(v, before[k]) for k, v in model.avatar.state_dict().items())
    assert any(not torch.equal(v, moved[k]) for k, v in model.prior.state_dict().items())


def test_the_regressor_takes_the_avatar_of_the_deep_appearance_model(make):
    dam, reg = make("dam"), make("reg")
    part = {k.removeprefix("avatar."): v for k, v in dam.state_dict().items() if k.startswith("avatar.")}
    reg.avatar.load_state_dict(part)
    batch = toy.batch(2, 3)
    torch.testing.assert_close(perform(reg, batch).renders, perform(dam, batch).renders)


def test_the_objectives_of_the_models_are_the_papers(make):
    model, seen = make("kl"), observation(toy.batch(3))
    q, (h, p) = model.encode(seen), model.drive_prior(seen)
    latent, _ = model.latent_objective(q, h, p)
    torch.testing.assert_close(latent, divergence(q, p))
    dam = make("dam")
    latent, _ = dam.latent_objective(q, None, None)
    torch.testing.assert_close(latent, divergence(q, type(q)(0 * q.mean, 0 * q.log_sigma)))


def test_the_flow_with_entropy_starts_as_lip_kl(make, monkeypatch):
    model, seen = make("entropy"), observation(toy.batch(3))
    monkeypatch.setattr(model, "log", lambda *_: None)
    q, (h, p) = model.encode(seen), model.drive_prior(seen)
    torch.manual_seed(0)
    draws = torch.stack([model.latent_objective(q, h, p)[0] for _ in range(3000)]).mean(0)
    torch.testing.assert_close(draws, divergence(q, p), rtol=0.05, atol=0.02)


def test_the_image_loss_is_that_of_the_picture_in_units_of_the_textures_deviation(make):
    model, batch = make("dam"), toy.batch(2)
    codes = torch.randn(2, 6)
    vertices, textures = model.decode(codes, batch.views.cameras)
    drawn = model.subject.draw(vertices, textures, batch.views.cameras)
    parts = model.reconstruction_losses(codes, batch)
    expected = ((drawn - batch.views.image) * 255).square().mean() / (255 * 0.1) ** 2
    torch.testing.assert_close(parts["image"], expected)
    metres = model.subject.metres(vertices) - batch.vertices
    torch.testing.assert_close(parts["vertices"], 10 * (metres / 0.01).square().mean())


def test_several_codes_of_a_frame_count_alike(make):
    model, batch = make("dam"), toy.batch(3)
    one, other = torch.randn(2, 3, model.appearance.latent)
    together = model.reconstruction_losses(torch.cat([one, other]), batch)
    for name, value in together.items():
        apart = [model.reconstruction_losses(codes, batch)[name] for codes in (one, other)]
        torch.testing.assert_close(value, (apart[0] + apart[1]) / 2)
        assert not torch.allclose(*apart)


def test_the_texture_loss_compares_seen_texels_only(make):
    model, batch = make("dam", loss={"texture": 1}), toy.batch(2)
    codes = torch.randn(2, 6)
    error = model.reconstruction_losses(codes, batch)["texture"]
    batch.view_texture[:, :, :32] = 0
    halved = model.reconstruction_losses(codes, batch)["texture"]
    assert 0 < halved < error
    batch.view_texture[:] = 0
    assert model.reconstruction_losses(codes, batch)["texture"] == 0


def test_unseen_texels_are_zero_after_standardising(make):
    model = make("dam")
    texture = torch.rand(1, 3, 64, 64)
    texture[0, :, 10, 20] = 0
    standard = model.subject.texture(texture)
    assert not standard[0, :, 10, 20].any()
    torch.testing.assert_close(standard[0, :, 5, 5], (texture - model.subject.texture_mean)[0, :, 5, 5] / 0.1)


def test_a_fit_starts_from_the_prior_and_in_the_space_of_q(make):
    model = make("flow").eval()
    for parameter in model.flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    seen = observation(toy.batch(3, 3, target="headset"))
    h, p = model.drive_prior(seen)
    start, nll = model.inference_prior(seen)
    condition = model.flow.condition(h)
    torch.testing.assert_close(model.flow(start, condition)[0], p.mean)
    there, log_det = model.flow(start, condition)
    torch.testing.assert_close(nll(start), p.nll(there) - log_det / 6)


def test_random_starts_depend_on_the_samples_name_alone(make):
    model = make("dam", fitting={"headset": {"steps": 1, "lr": 0.0, "final_lr": 0.0}})
    batch = replace(toy.batch(3, 3, target="headset"), random_start=True)
    start, _ = model.fit_codes(observation(batch), torch.zeros(3))
    batch.sample_id = [batch.sample_id[2], "another/000000", "third/000000"]
    other, _ = model.fit_codes(observation(batch), torch.zeros(3))
    torch.testing.assert_close(other[0], start[2])
    assert start.std() > 0.5


def test_fitting_lowers_the_objective_and_leaves_the_weights_alone(make, fit):
    model = make("flow", fitting={"headset": {"steps": 30}}).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.inference_mode():  # as Lightning tests
        estimate = perform(model, toy.batch(3, 3, target="headset"))
    assert (estimate.report.end < estimate.report.start).all()
    assert not torch.equal(estimate.report.first, estimate.renders)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_likelihoods_weight_is_the_one_whose_fits_are_nearest_to_the_validation_frames(make):
    model = make("dam", fitting={"headset": {"steps": 20, "lr": 0.5}, "weights": [100.0, 0.0]}).eval()
    batch = toy.batch(2, 3, target="headset")
    cameras = batch.views.cameras
    codes = 3 * torch.ones(2, 6)
    with torch.no_grad():
        batch.views.image = model.subject.draw(*model.decode(codes, cameras), cameras)
        drawn = model.subject.draw(*model.decode(codes, batch.headset.cameras), batch.headset.cameras)
    batch.headset.image, batch.headset.mask[:] = (drawn * torch.tensor([0.62, 0.3, 0.08])[:, None, None]).sum(
        2, keepdim=True), 1  # fmt: skip
    assert model.choose_weight(batch) == 0.0
    with torch.no_grad():
        batch.views.image = model.subject.draw(*model.decode(0 * codes, cameras), cameras)
        near, far = (model.subject.metres(model.decode(these, cameras)[0]) for these in (0 * codes, codes))
    assert model.choose_weight(replace(batch, truth=near)) == 100.0
    batch.views.mask[:] = 0  # nothing is seen, so that the mesh decides
    assert [model.choose_weight(replace(batch, truth=truth)) for truth in (near, far)] == [100.0, 0.0]


def only(whole, i):
    """Frame ``i`` alone of anything that has all frames in front."""
    if isinstance(whole, torch.Tensor):
        return whole[i : i + 1]
    if not is_dataclass(whole):
        return whole
    return replace(whole, **{field.name: only(getattr(whole, field.name), i) for field in fields(whole)})


@pytest.mark.parametrize("target", ["keypoints", "headset"])
def test_frames_in_one_batch_or_alone_are_fitted_alike(make, target):
    model = make("kl-kpt" if target == "keypoints" else "flow").eval()
    batch = toy.batch(3, 3, target=target)
    seen = observation(batch)
    start, together = model.fit_codes(seen, torch.full((3,), 0.1))
    assert (together.codes - start).abs().amin(1).max() > 0.01
    for i in range(3):
        _, alone = model.fit_codes(only(seen, i), torch.full((1,), 0.1))
        torch.testing.assert_close(alone.codes[0], together.codes[i])


@pytest.mark.parametrize("start", ["on_test_start", "on_predict_start"])
def test_a_test_and_a_prediction_choose_the_weight_first(make, start):
    model, batch = make("kl").eval(), toy.batch(2, 3, target="headset")
    alone = SimpleNamespace(broadcast=lambda value: value)
    model.trainer = SimpleNamespace(datamodule=SimpleNamespace(tuning_batch=batch), strategy=alone)
    model.transfer_batch_to_device = lambda given, *_: given
    assert model.likelihood_weight is None
    getattr(model, start)()
    assert model.likelihood_weight in model.fitting.weights


def test_weights_survive_saving_and_loading(make, fit, tmp_path):
    model = make()
    fit(model, toy.batch(), 1)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = make()
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    batch = toy.batch(2, 3, target="headset")
    torch.testing.assert_close(perform(again.eval(), batch).renders, perform(model.eval(), batch).renders)


@pytest.mark.parametrize("name", MODELS)
def test_the_avatar_and_its_prior_learn_at_rates_of_their_own(make, fit, name):
    model = make(name, optimiser={"lr": 1.0e-3, "prior_lr": 4.0e-3, "decay": 1, "final_lr": None})
    fit(model, toy.batch(), 1)
    rates = {id(p): group["lr"] for group in model.trainer.optimizers[0].param_groups for p in group["params"]}
    found = {n.split(".")[0]: rates[id(p)] for n, p in model.named_parameters() if p.requires_grad}
    expected = {"avatar": 1.0e-3, "prior": 4.0e-3, "flow": 4.0e-3}
    assert found == {part: expected[part] for part in found}
    assert set(found) == {
        p for p in expected if any(n.startswith(p) for n, v in model.named_parameters() if v.requires_grad)
    }
    assert len(rates) == sum(p.requires_grad for p in model.parameters())


def test_it_overfits_one_batch(make, fit):
    model, batch = make("dam", optimiser={"lr": 1.0e-2, "final_lr": 1.0e-3}), toy.batch(2)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), size=toy.SIZE, mode="bilinear")[:, None]
    pose = (getattr(batch.views.cameras, name)[:, 0] for name in ("K", "rotation", "translation"))
    covered = mesh.coverage(batch.vertices, model.subject.faces, *pose, (toy.SIZE, toy.SIZE))[:, None].float()
    batch.views.image, batch.views.mask = smooth, covered
    before = model.reconstruction_losses(model.mean_codes(observation(batch)), batch)
    fit(model, batch, 150)
    after = model.reconstruction_losses(model.mean_codes(observation(batch)), batch)
    assert after["image"] < 0.2 * before["image"]
    assert after["vertices"] < 0.2 * before["vertices"]


@pytest.mark.parametrize("kind", [MeanAvatar, TrueMesh, NextAvatarFrame])
def test_reference_rows(kind):
    model = partial(kind, toy.SIZE)()
    model.set_subject(toy.subject())
    batch = toy.batch(3, 3, target="headset")
    estimate = perform(model, batch)
    assert estimate.renders.shape == (3, 3, 3, toy.SIZE, toy.SIZE)
    if kind is MeanAvatar:
        torch.testing.assert_close(estimate.vertices[1], toy.subject().vertex_mean)
    else:
        torch.testing.assert_close(estimate.vertices[0], batch.truth[0 if kind is TrueMesh else 1])


def test_texels_that_nobody_saw_have_the_colour_of_the_nearest_that_somebody_did():
    texture = torch.zeros(3, 4, 6)
    texture[:, :, 0], texture[:, 1, 5] = 0.25, torch.tensor([0.0, 0.5, 0.0])
    whole = filled(texture)
    assert (whole[:, :, :3] == 0.25).all()
    assert (whole[:, 1, 3:] == torch.tensor([0.0, 0.5, 0.0])[:, None]).all()  # black in one colour is seen
    assert filled(torch.zeros(3, 2, 2)).sum() == 0
