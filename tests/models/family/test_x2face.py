import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from models.dagan.x2face import sampled
from models.tasks import Context


def moved(model, seed=3):
    """The heads start at zero, where nothing moves."""
    torch.manual_seed(seed)
    for network in (model.embedding, model.driving):
        torch.nn.init.normal_(network.flow.weight, std=0.03)
    return model.eval()


def test_a_flow_of_zero_is_the_identity():
    image = torch.rand(2, 3, 9, 12)
    torch.testing.assert_close(sampled(image, torch.zeros(2, 2, 9, 12), True), image, atol=1e-6, rtol=0)


def test_a_flow_of_one_pixel_takes_the_neighbour():
    image = torch.rand(1, 3, 9, 12)
    flow = torch.zeros(1, 2, 9, 12)
    flow[:, 0] = np.arctanh(2 / 11)  # one of eleven steps over [-1, 1]
    shifted = sampled(image, flow, True)
    torch.testing.assert_close(shifted[..., :-1], image[..., 1:], atol=1e-5, rtol=0)
    assert shifted[..., -1].abs().max() < 1e-5


def test_the_sampler_is_scipys_linear_interpolation():
    torch.manual_seed(0)
    image, flow = torch.rand(1, 1, 8, 10, dtype=torch.float64), 0.5 * torch.randn(1, 2, 8, 10, dtype=torch.float64)
    y, x = np.mgrid[0:8, 0:10].astype(float)
    dx, dy = np.tanh(flow[0].numpy())
    where = [y + dy * 3.5, x + dx * 4.5]  # half of the steps between first and last pixel
    expected = map_coordinates(image[0, 0].numpy(), where, order=1, mode="grid-constant")
    np.testing.assert_allclose(sampled(image, flow, True)[0, 0], expected, atol=1e-9)


def test_at_the_start_the_source_is_drawn_for_any_driver(smallest):
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    video = smallest("x2face").eval().reenact(source, driving, Context())
    torch.testing.assert_close(video, source[:, None].expand_as(video), atol=1e-4, rtol=0)


def test_the_driver_is_seen_through_its_vector_alone(smallest):
    model = moved(smallest("x2face"))
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64)
    first, second = model.reenact(source, driving, Context())[0]
    assert (first - second).abs().max() > 1e-4
    face = model.embedding(source)
    vector = model.driving.encode(driving[0, 1:])
    assert vector.shape == (1, 8)
    torch.testing.assert_close(model.draw(face, vector)[0], second, atol=2e-5, rtol=0)


def test_the_picture_is_the_source_sampled_twice(smallest):
    """No pixel is painted: a source of one colour inside stays of that colour wherever nothing is cut off."""
    model = moved(smallest("x2face"))
    image = torch.full((1, 3, 64, 64), 0.6)
    video = model.reenact(image, torch.rand(1, 1, 3, 64, 64), Context())
    assert video.max() <= 0.6 + 1e-6
    torch.testing.assert_close(video[..., 20:44, 20:44], torch.full((1, 1, 3, 24, 24), 0.6))


def test_relative_motion_adds_the_change_of_the_driving_vector(smallest):
    model = moved(smallest("x2face"))
    source, driving, initial = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    encode = model.driving.encode
    vector = encode(source) + encode(driving[:, 0]) - encode(initial)
    expected = model.draw(model.embedding(source), vector)
    torch.testing.assert_close(
        model.reenact(source, driving, Context("relative", initial))[:, 0], expected, atol=2e-5, rtol=0
    )


def test_a_step_has_the_gradient_of_the_photometric_loss(smallest, fit):
    model, plain = (moved(smallest("x2face")).train().double() for _ in range(2))
    torch.manual_seed(2)
    source, driving = torch.rand(2, 2, 3, 64, 64, dtype=torch.float64)
    fake = plain.draw(plain.embedding(source), plain.driving.encode(driving))
    parameters = dict(plain.named_parameters())
    gradients = torch.autograd.grad((fake - driving).abs().mean(), parameters.values())
    kept = {}
    model.on_before_optimizer_step = lambda _: kept.update({n: p.grad.clone() for n, p in model.named_parameters()})
    fit(model, {"source": source, "driving": driving}, 1)
    largest = max(gradient.abs().max() for gradient in gradients)
    for name, gradient in zip(parameters, gradients, strict=True):
        assert (kept[name] - gradient).abs().max() < 1e-9 * largest, name


def test_a_size_that_cannot_be_halved_so_often_is_refused(smallest):
    with pytest.raises(ValueError, match="image_size 72 is not a multiple of 16"):
        smallest("x2face", image_size=72, **{"networks.num_blocks": 4})


def test_the_papers_size(paper):
    model = paper("x2face")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.driving.to_vector.out_features == 128


def test_the_flows_of_half_precision_are_not_rounded_to_it(smallest):
    model = smallest("x2face").eval()
    for network in (model.embedding, model.driving):
        torch.nn.init.normal_(network.flow.weight, std=0.1)
    flows = []
    model.embedding.flow.register_forward_hook(lambda *args: flows.append(args[2]))
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model.embedding(image)
        flows.append(model.driving.decode(model.driving.encode(image)))
    for flow in flows:
        assert flow.dtype == torch.float32
        assert not torch.equal(flow, flow.bfloat16().float())
