import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from metrics.distribution import frechet_distance, frechet_parts, kernel_distance
from metrics.feature_sets import FrechetDistance, KernelDistance
from tests.gloo import in_gloo_processes

WORLD = 3
PLANS = {  # what each process sees, batch by batch
    "unequal batches": [[[0, 1, 2, 3], [4, 5]], [[6, 7, 8, 9, 10, 11]], [[12], [13], [14, 15]]],
    "a process without data": [[list(range(8))], [], [list(range(8, 16))]],
    "a sampler that repeats to fill up": [[[0, 3, 6, 9], [12, 15, 0]], [[1, 4, 7, 10, 13]], [[2, 5, 8, 11, 14, 1]]],
}


class Toy(nn.Module):
    """A fixed extractor: means of 24 blocks of an image in grey levels, mixed by fixed weights."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(48, 24, bias=False, dtype=torch.float64)
        self.dropout = nn.Dropout(0.5)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(24, 48, generator=generator))

    def forward(self, images):
        blocks = nn.functional.adaptive_avg_pool2d(images.double() / 255, 4).flatten(1)
        return self.dropout(torch.tanh(self.mix(blocks)))


def _images(seed, count=60):
    return torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(seed)).float()


def _names(count, videos=5):
    return [f"v{i % videos}/{i}" for i in range(count)]


def _filled(metric, fake, real, batch=60):
    for start in range(0, len(fake), batch):
        part = slice(start, start + batch)
        metric.update(fake[part], real[part], _names(len(fake))[part])
    return metric


def test_case_14_the_class_is_torchmetrics_with_the_same_extractor():
    fake, real, network = _images(0), _images(1) * 0.8, Toy().eval()
    theirs = FrechetInceptionDistance(feature=network, input_img_size=(3, 24, 24)).set_dtype(torch.float64)
    theirs.update(real.byte(), real=True)
    theirs.update(fake.byte(), real=False)
    ours = _filled(FrechetDistance(network), fake, real.byte().float())
    assert ours.compute().item() == pytest.approx(theirs.compute().item(), abs=1e-9)
    assert ours.label() == "FD@60"


def test_case_17_the_class_is_torchmetrics_with_one_full_subset():
    fake, real, network = _images(0), (_images(1) * 0.8).byte().float(), Toy().eval()
    theirs = KernelInceptionDistance(feature=network, subsets=1, subset_size=60)
    theirs.update(real.byte(), real=True)
    theirs.update(fake.byte(), real=False)
    ours = _filled(KernelDistance(network), fake, real)
    assert ours.compute().item() == pytest.approx(theirs.compute()[0].item(), abs=5e-8)


def test_case_34_batches_and_their_order_do_not_matter():
    fake, real = _images(0), _images(1)
    for metric in (FrechetDistance, KernelDistance):
        right = _filled(metric(Toy()), fake, real).compute().item()
        assert _filled(metric(Toy()), fake, real, batch=7).compute().item() == pytest.approx(right, abs=1e-9)
        backwards = metric(Toy())
        backwards.update(fake.flip(0), None, _names(60)[::-1])
        backwards.update(None, real.flip(0), _names(60)[::-1])
        assert backwards.compute().item() == pytest.approx(right, abs=1e-9)


def test_case_15_merged_states_are_the_whole():
    fake, real = _images(0), _images(1)
    for metric in (FrechetDistance, KernelDistance):
        shards, single = [metric(Toy()) for _ in range(2)], metric(Toy())
        for shard, part in zip(shards, (slice(0, 25), slice(25, 60)), strict=True):
            for one in (shard, single):  # in the same batches, for in others the network itself rounds otherwise
                one.update(fake[part], real[part], _names(60)[part])
        shards[0].merge_state(shards[1])
        assert shards[0].compute() == single.compute()


def _of_both_metrics(batches):
    """Label, value, replicates and, after those, the value once more, of what one process sees of 16 samples."""
    generator = torch.Generator().manual_seed(0)
    fake, real = torch.randn(16, 6, generator=generator), torch.randn(16, 6, generator=generator)
    results = []
    for metric in (FrechetDistance(nn.Identity()), KernelDistance(nn.Identity())):
        for batch in batches:
            metric.update(fake[batch], real[batch], [f"v{i % 4}/{i}" for i in batch])
        replicates = list(metric.per_video_jackknife().values())
        results += [metric.label(), metric.compute().item(), replicates, metric.compute().item()]
    return results


@pytest.mark.parametrize("world", [2, WORLD])
def test_case_15_processes_give_what_one_gives(tmp_path, world):
    plans = {name: plan if world == WORLD else [plan[0], plan[1] + plan[2]] for name, plan in PLANS.items()}

    def work(rank):
        return {name: _of_both_metrics(plan[rank]) for name, plan in plans.items()}

    expected = _of_both_metrics([list(range(16))])
    assert in_gloo_processes(work, world, tmp_path) == [dict.fromkeys(plans, expected)] * world


def test_the_jackknife_leaves_out_whole_videos():
    fake, real = _images(0), _images(1)
    for metric, distance in ((FrechetDistance, frechet_distance), (KernelDistance, kernel_distance)):
        filled = _filled(metric(Toy()), fake, real)
        sets = filled.feature_sets()
        video = metric.sample_key("v3")
        kept = sets.generated[sets.generated_videos != video], sets.real[sets.real_videos != video]
        assert len(kept[0]) == len(kept[1]) == 48
        replicates = filled.per_video_jackknife()
        assert set(replicates) == {metric.sample_key(f"v{i}") for i in range(5)}
        assert replicates[video] == pytest.approx(distance(*kept), rel=1e-9)


def test_parts_add_up_and_a_shift_is_in_the_mean():
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = FrechetDistance(nn.Identity())
    metric.update(features + 1, features, _names(40))
    assert metric.parts().mean == pytest.approx(12, abs=1e-9)
    assert metric.parts().covariance == pytest.approx(0, abs=1e-9)
    assert metric.compute().item() == pytest.approx(sum(metric.parts()), abs=1e-12)
    assert metric.parts() == frechet_parts(*metric.feature_sets()[:2])


def test_another_ddof_is_named_and_changes_the_value():
    fake, real = _images(0), _images(1)
    metric = _filled(FrechetDistance(Toy(), ddof=0), fake, real)
    assert metric.label() == "FD-ddof0@60"
    assert "ddof 0" in metric.card.protocol
    assert metric.compute() != _filled(FrechetDistance(Toy()), fake, real).compute()


def test_identical_sets_are_exactly_zero():
    metric = _filled(FrechetDistance(Toy()), _images(0), _images(0))
    assert metric.compute() == 0


def test_the_extractor_is_frozen_and_in_no_checkpoint():
    network = Toy().train()
    metric = FrechetDistance(network)
    metric.train()
    first = _filled(metric, _images(0), _images(1)).compute()  # dropout would make the two sets differ
    metric.reset()
    assert _filled(metric, _images(0), _images(1)).compute() == first
    assert metric.state_dict() == {}
    assert not list(metric.parameters())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_memory_is_that_of_the_features():
    metric = _filled(FrechetDistance(Toy()), _images(0), _images(1), batch=10)
    stored = sum(
        x.numel() * x.element_size()
        for state in (metric.ids, metric.videos, metric.values, metric.status)
        for x in state
    )
    assert stored == 2 * 60 * (24 + 3) * 8


def test_case_35_mutations_of_the_sets():
    fake, real = _images(0), (0.7 * _images(1)).round()
    for metric in (FrechetDistance, KernelDistance):
        right = _filled(metric(Toy()), fake, real).compute().item()
        assert _filled(metric(Toy()), real, fake).compute().item() == pytest.approx(right, rel=1e-9)  # interchangeable
        assert _filled(metric(Toy()), fake.flip(1), real).compute().item() != pytest.approx(right, rel=1e-4)  # BGR
        assert _filled(metric(Toy()), fake / 255, real).compute().item() != pytest.approx(right, rel=0.1)
        rolled = _filled(metric(Toy()), fake.roll(1, 0), real).compute().item()
        assert rolled == pytest.approx(right, rel=1e-9)  # documented: frames out of step do not show


def test_what_cannot_be_measured_is_one_plain_sentence():
    metric = FrechetDistance(Toy())
    with pytest.raises(ValueError, match="FD got no samples"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()
    metric.update(_images(0, 1), _images(1, 1), ["a/0"])
    with pytest.raises(ValueError, match="1 and 1 samples; a distribution needs at least 2"):
        metric.compute()
    metric.update(_images(0, 4), None, _names(4))
    with pytest.raises(ValueError, match="5 generated and 1 real samples; its bias depends on the number"):
        metric.compute()
    with pytest.raises(ValueError, match="nan or inf"):
        metric.update(_images(0, 4) * torch.nan, None, _names(4))
    with pytest.raises(ValueError, match="one identifier for each image"):
        metric.update(_images(0, 4), None, _names(3))
    with pytest.raises(ValueError, match="has to return N D"):
        FrechetDistance(nn.Identity()).update(_images(0, 4), None, _names(4))
    with pytest.raises(ValueError, match="A feature holds nan or inf"):
        metric.add_features(torch.full((2, 3), torch.nan), _names(2), real=True)
    one_video = FrechetDistance(nn.Flatten())
    one_video.update(_images(0, 4), _images(1, 4), ["a/0", "a/1", "a/2", "a/3"])
    with pytest.raises(ValueError, match="a jackknife needs more groups"):
        one_video.per_video_jackknife()
    assert np.isfinite(one_video.compute().item())
