"""A fit by Lightning: what is clipped, and what of the published networks stays as it was (m1.1, m1.7)."""

import lightning
import pytest
import torch
from torch.nn.utils import get_total_norm
from torch.utils.data import DataLoader
from transformers import CLIPVisionConfig, CLIPVisionModel

from models.mcdm.image_tokens import CLIPVision
from tests.models.mcdm.conftest import fresh

CLIP = 1e-3


def clip_tokens(folder):
    """An image encoder of CLIP's kind, of random weights."""
    torch.manual_seed(3)
    tower = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    CLIPVisionModel(tower).save_pretrained(folder)
    return CLIPVision(str(folder))


def fit(model, batch, steps=3):
    """A few steps over one batch, which leave the gradients of the last."""
    trainer = lightning.Trainer(max_steps=steps, gradient_clip_val=CLIP, accelerator="cpu", barebones=True)
    trainer.fit(model, DataLoader([batch] * steps, batch_size=None))
    return model


def test_the_adapter_is_clipped_with_the_rest(batch):
    """The norm that is bounded is that of all that learns; the released code leaves the adapter out (D5)."""
    model = fit(fresh(), batch)
    assert all(parameter.grad is not None for parameter in model.adapter.parameters())
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert float(get_total_norm(gradients)) == pytest.approx(CLIP, rel=1e-3)


def test_codec_and_clip_stay_as_they_were(batch, tmp_path):
    model = fresh(image_encoder=clip_tokens(tmp_path))
    still = {
        name: value.clone() for name, value in model.state_dict().items() if name.startswith(("codec", "image_encoder"))
    }
    assert {name.split(".")[0] for name in still} == {"codec", "image_encoder"}
    fit(model, batch)
    for name, value in still.items():
        assert torch.equal(model.state_dict()[name], value), name
