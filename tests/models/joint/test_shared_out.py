"""The joint model's gradients and moments shared out over two processes, by the units that its memory plan names."""

from importlib import import_module

import pytest
import torch
import yaml
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

from tests.gloo import in_gloo_processes
from tests.models.conftest import BENCHMARKS
from tests.models.joint.conftest import joint

PLAN = yaml.safe_load((BENCHMARKS / "variants/joint/memory.yaml").read_text())["trainer"]["strategy"]["init_args"]


class Step(nn.Module):
    """A training step as the forward pass, as Lightning has it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.training_step(batch, 0)


def units():
    """The classes that the plan names."""
    parts = [name.rpartition(".") for name in PLAN["auto_wrap_policy"]]
    return ModuleWrapPolicy({getattr(import_module(module), name) for module, _, name in parts})


def gradients(root, batch):
    """Those of a step, by name, whole ones as they are and shards of a shared one flat."""
    torch.manual_seed(3)
    root(batch).backward()
    learn = [(name, parameter) for name, parameter in root.named_parameters() if parameter.requires_grad]
    return {name.replace("_fsdp_wrapped_module.", ""): parameter.grad for name, parameter in learn}


def made(checkpointing, reference):
    return Step(joint(checkpointing=checkpointing, reference=reference).train())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("reference", ["network", "both"])
def test_two_processes_share_out_a_step_and_have_the_gradients_of_one(checkpointing, reference, batch, tmp_path):
    whole = gradients(made(checkpointing, reference), batch)

    def work(rank):
        strategy = ShardingStrategy[PLAN["sharding_strategy"]]
        options = {"use_orig_params": True, "sharding_strategy": strategy, "device_id": torch.device("cpu")}
        root = FullyShardedDataParallel(made(checkpointing, reference), auto_wrap_policy=units(), **options)
        found = gradients(root, batch)
        return {name: [] if part is None else part.flatten().tolist() for name, part in found.items()}

    ours, theirs = in_gloo_processes(work, 2, tmp_path)
    for name, gradient in whole.items():
        parts = torch.tensor(ours[name] + theirs[name])  # each has its shard, or nothing, of what was one after another
        torch.testing.assert_close(parts, gradient.flatten(), rtol=1e-4, atol=1e-6, msg=name)
