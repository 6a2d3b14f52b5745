"""The flow, its likelihoods and the cycle, against exact cases."""

import importlib.util

import pytest
import torch

from models.errors import UserError
from models.lipflow import losses
from models.lipflow.flow import ConditionalFlow, FlowConfig
from models.lipflow.latent import Gaussian, divergence, standard_like
from models.lipflow.losses import CycleConfig

ZUKO = pytest.param("zuko", marks=pytest.mark.skipif(not importlib.util.find_spec("zuko"), reason="zuko is absent"))
BACKENDS = pytest.mark.parametrize("backend", ["builtin", ZUKO])


def make(backend="builtin", latent=6, features=10, layers=4, context=8, moved=True, std=0.4):
    """A flow, codes and contexts of three frames, the flow in double precision."""
    torch.manual_seed(0)
    flow = ConditionalFlow(latent, features, FlowConfig(backend, layers, 16, context, 2.0)).double()
    if moved:
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return flow, torch.randn(3, latent).double(), torch.randn(3, features).double()


def gaussian(batch=3, latent=6):
    return Gaussian(torch.randn(batch, latent).double(), 0.3 * torch.randn(batch, latent).double())


@BACKENDS
@pytest.mark.parametrize("latent", [6, 7])
def test_the_round_trip_is_exact(backend, latent):
    flow, codes, context = make(backend, latent)
    condition = flow.condition(context)
    there, _ = flow(codes, condition)
    assert (there - codes).abs().max() > 0.1
    assert (flow.inverse(there, condition) - codes).abs().max() < 1e-10


@BACKENDS
@pytest.mark.parametrize(("latent", "std"), [(32, 0.15), (256, 0.1)])  # D 256 is the paper's
def test_the_round_trip_in_single_precision_stays_below_1e_5(backend, latent, std):
    flow, codes, context = make(backend, latent=latent, layers=6, std=std)
    flow, codes = flow.float(), codes.float()
    condition = flow.condition(context.float())
    there, _ = flow(codes, condition)
    assert (there - codes).abs().max() > 0.1
    assert (flow.inverse(there, condition) - codes).abs().max() < 1e-5


@BACKENDS
def test_the_log_determinant_is_that_of_autograds_jacobian(backend):
    flow, codes, context = make(backend)
    condition = flow.condition(context)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z, condition)[0].sum(0), codes).transpose(0, 1)
    torch.testing.assert_close(flow(codes, condition)[1], torch.linalg.slogdet(jacobian)[1])


@BACKENDS
def test_the_flow_starts_as_the_identity(backend):
    flow, codes, context = make(backend, moved=False)
    there, log_det = flow(codes, flow.condition(context))
    torch.testing.assert_close(there, codes)
    assert not log_det.any()


@BACKENDS
@pytest.mark.parametrize("context", [0, 8])
def test_every_parameter_of_the_flow_gets_a_gradient(backend, context):
    flow, codes, h = make(backend, context=context)
    there, log_det = flow(codes, flow.condition(h))
    (there.square().sum() - log_det.sum()).backward()
    assert all(parameter.grad.any() for parameter in flow.parameters())


@BACKENDS
def test_each_frame_depends_on_its_own_context_alone(backend):
    flow, codes, context = make(backend)
    alone, together = flow(codes[1:2], flow.condition(context[1:2])), flow(codes, flow.condition(context))
    torch.testing.assert_close(together[0][1:2], alone[0])
    assert not torch.allclose(flow(codes[1:2], flow.condition(context[:1]))[0], alone[0])


def test_every_dimension_is_moved():
    flow, codes, context = make(layers=2)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z, flow.condition(context))[0][0], codes)[:, 0]
    assert (jacobian.diagonal() != 1).all()


@BACKENDS
def test_the_log_scale_of_a_coupling_is_clamped_softly(backend):
    flow, codes, context = make(backend, layers=1)
    torch.nn.init.constant_(list(flow.parameters())[-1], 1000.0)  # the bias of the shifts and log scales
    log_det = flow(codes, flow.condition(context))[1]
    assert log_det.max() <= 3 * 2.0 + 1e-6  # half of six dimensions, each at most 2
    assert log_det.min() > 5.9


def test_the_flow_keeps_single_precision_under_autocast():
    flow, codes, context = make(latent=32, std=0.15)
    flow = flow.float()
    with torch.autocast("cpu", torch.bfloat16):
        condition = flow.condition(context.bfloat16())
        there, _ = flow(codes.bfloat16(), condition)
        back = flow.inverse(there, condition)
    assert there.dtype == back.dtype == torch.float32
    assert (back - codes.bfloat16().float()).abs().max() < 1e-5


def test_a_saved_flow_partitions_the_dimensions_as_before():
    flow, codes, context = make()
    torch.manual_seed(5)
    other = ConditionalFlow(6, 10, FlowConfig("builtin", 4, 16, 8, 2.0)).double()
    other.load_state_dict(flow.state_dict())
    torch.testing.assert_close(other(codes, other.condition(context))[0], flow(codes, flow.condition(context))[0])


def test_without_zuko_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko.flows", None)
    with pytest.raises(UserError, match=r"pip install 'portrait-bench\[flows\]'"):
        ConditionalFlow(6, 10, FlowConfig("zuko", 2, 8, 8, 2.0))


def test_the_densities_are_those_of_torch():
    p, codes = gaussian(), torch.randn(3, 6).double()
    reference = torch.distributions.Normal(p.mean, p.log_sigma.exp())
    torch.testing.assert_close(p.nll(codes), -reference.log_prob(codes).mean(1))
    torch.testing.assert_close(p.entropy(), reference.entropy().mean(1))


def test_the_divergence_is_that_of_torch():
    q, p = gaussian(), gaussian()
    first, second = (torch.distributions.Normal(g.mean, g.log_sigma.exp()) for g in (q, p))
    torch.testing.assert_close(divergence(q, p), torch.distributions.kl_divergence(first, second).mean(1))
    torch.testing.assert_close(losses.standard_divergence(q), divergence(q, standard_like(q.mean)))


def test_with_the_identity_flow_the_likelihood_less_the_entropy_is_the_closed_form_of_lip_kl():
    flow, _, h = make(moved=False)
    condition = flow.condition(h)
    q, p = gaussian(), gaussian()
    nodes, weights = gauss_hermite(20)
    # The expectation over q of a sum over dimensions is exact by quadrature, dimension by dimension.
    expected = sum(
        w * losses.flow_nll(q.mean + q.log_sigma.exp() * x, flow, condition, p)[0]
        for x, w in zip(nodes, weights, strict=True)
    )
    torch.testing.assert_close(expected - q.entropy(), divergence(q, p))


def gauss_hermite(count):
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def norm(loss, flow):
    parts = torch.autograd.grad(loss, list(flow.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts]).norm()


def cycled(mode):
    flow, codes, h = make(latent=8)
    condition, p = flow.condition(h), gaussian(3, 8)
    nll, there = losses.flow_nll(codes, flow, condition, p)
    return flow, codes, nll, losses.cycle(codes, there, flow, condition, p, CycleConfig(mode, 0.5))


def test_the_exact_cycle_is_the_code_itself_and_passes_no_gradient_to_the_flow():
    flow, codes, nll, decoded = cycled("exact")
    assert (decoded - codes).abs().max() < 1e-10
    # What the paper says the cycle is for does not happen (section 3.3).
    assert norm((decoded - 1).square().sum(), flow) < 1e-8 * norm(nll.sum(), flow)


def test_the_noisy_cycle_passes_a_gradient_to_the_flow():
    flow, codes, nll, decoded = cycled("noisy")
    assert (decoded - codes).abs().max() > 0.01
    assert norm((decoded - 1).square().sum(), flow) > 1e-3 * norm(nll.sum(), flow)


def test_without_a_cycle_the_decoder_gets_the_sample_itself():
    _, codes, _, decoded = cycled("off")
    assert decoded is codes
