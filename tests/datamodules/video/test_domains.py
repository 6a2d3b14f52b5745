"""Several sets as one to learn from, one of them to test on."""

import json
from collections import Counter
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch

from benchmarks import cli, runs
from datamodules.base import DataError, EpochSampler, TestProtocol
from datamodules.video.domains import Mixture, PortraitDomains
from datamodules.video.frames import VideoFrames
from datamodules.world.export.clips import PortraitSpec, make_clips
from metrics.alignment import affine_align
from metrics.depth import rmse
from models.reference import FittedDepth
from models.tasks import is_oracle, perform

SPLITS = ("train", "test", "targets")
STUDIO = PortraitSpec(32, 3, 2, 1, 3, stills=True, studio=True, depth_splits=SPLITS, seed=5)
WILD = PortraitSpec(32, 3, 2, 1, 5, fps=5, cross_pairs=2, depth_by="fit", depth_splits=SPLITS, seed=6)
DOMAINS = {"studio": STUDIO, "wild": WILD}
TASKS = ("self_reenactment", "cross_reenactment", "depth", "depth_to_image")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Where both sets are made."""
    folder = tmp_path_factory.mktemp("domains")
    for spec in DOMAINS.values():
        make_clips(spec, folder, workers=0)
    return folder


def domains(root, **options):
    given = {"train_on": ["studio", "wild"], "test_on": "wild", "targets": 2, "num_workers": 0, "domains": DOMAINS}
    return PortraitDomains(str(root), 32, **given | options)


class Numbers:
    """A part whose samples are their numbers."""

    def __getitem__(self, number):
        return {"number": number, "video_id": "v"}


def mixture(shares, seed=0, size=10):
    return Mixture({f"set{i}": Numbers() for i in range(len(shares))}, shares, size, seed)


@pytest.mark.parametrize("shares", [[1], [1, 1], [1, 2, 3], [5, 1]])
def test_every_block_holds_the_shares_and_every_set_its_samples_once(shares):
    mixed, block = mixture(shares), sum(shares)
    places = [mixed.place(number) for number in range(40 * block)]
    for start in range(0, len(places), block):
        assert Counter(part for part, _ in places[start : start + block]) == dict(enumerate(shares))
    for part, share in enumerate(shares):
        assert [own for which, own in places if which == part] == list(range(40 * share))


def test_a_place_depends_on_seed_and_number_alone():
    one, other = mixture([1, 2]), mixture([1, 2], size=3)
    backwards = {number: other.place(number) for number in reversed(range(300))}
    assert all(one.place(number) == backwards[number] for number in range(300))
    assert [one.place(n) for n in range(30)] != [mixture([1, 2], seed=1).place(n) for n in range(30)]
    assert one[7] == {"number": one.place(7)[1], "video_id": f"set{one.place(7)[0]}/v"}


def test_every_process_and_epoch_sees_every_set():
    mixed = mixture([1, 1], size=100)
    for rank in range(2):
        sampler = EpochSampler(mixed, num_replicas=2, rank=rank)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            seen = Counter(mixed.place(number)[0] for number in sampler)
            assert min(seen[0], seen[1]) > 10


def test_a_batch_mixes_the_domains_evenly(root):
    data = domains(root, batch_size=8, samples_per_epoch=16)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert Counter(name.partition("/")[0] for name in batch["video_id"]) == {"studio": 4, "wild": 4}
        assert batch["image"].shape == (8, 2, 3, 32, 32)
        assert batch["mask"].flatten(2).any(2).all()
    again = domains(root, batch_size=8, samples_per_epoch=16, cache=True)
    again.setup("fit")
    assert all(torch.equal(a["depth"], b["depth"]) for a, b in zip(batches, again.train_dataloader(), strict=True))
    assert len(list(data.val_dataloader())) == 8  # 64 samples


@pytest.mark.parametrize("sample", ["pairs", "triplets", "stills", "portraits", "clips"])
def test_one_domain_gives_the_samples_of_its_frames(root, sample):
    alone = VideoFrames(str(root), 32, portraits=STUDIO, sample=sample, targets=2, num_workers=0)
    data = domains(root, train_on=["studio"], sample=sample)
    for module in (alone, data):
        module.setup("fit")
    for number in (0, 3, 500):
        one, other = alone.train_set[number], data.train_set[number]
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items() if torch.is_tensor(value))
    assert len(data.train_set) == len(alone.train_set) == 2  # clips


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", DOMAINS)
def test_a_test_is_that_of_the_domain_s_frames(root, task, name):
    if name == "studio" and task == "cross_reenactment":
        pytest.skip("stills have no cross pairs here")
    options = {"test": TestProtocol(task), "batch_size": 2, "num_workers": 0, "seed": 3}
    alone = VideoFrames(str(root), 32, portraits=DOMAINS[name], **options)
    data = domains(root, test_on=name, **options)
    for module in (alone, data):
        module.setup("test")
    batches = list(zip(alone.test_dataloader(), data.test_dataloader(), strict=True))
    assert batches
    for one, other in batches:
        for part in fields(one):
            first, second = getattr(one, part.name), getattr(other, part.name)
            assert torch.equal(first, second) if torch.is_tensor(first) else first == second


@pytest.mark.parametrize("name", DOMAINS)
def test_depth_may_be_given_the_fit(root, name):
    data = domains(root, test_on=name, test=TestProtocol("depth", condition="fitted_depth"))
    data.setup("test")
    for batch in data.test_dataloader():
        truth = np.load(root / DOMAINS[name].hash / "truth" / "test" / f"{batch.video_id[0]}.npz")
        fit = perform(FittedDepth(32), batch)
        assert torch.equal(fit.map[:, 0], torch.from_numpy(truth["fitted_depth"][batch.frame]))
        error, nothing = (
            rmse(affine_align(depth, "depth", batch.depth, batch.mask).depth, batch.depth, batch.mask)
            for depth in (fit.map, torch.ones_like(fit.map))
        )
        assert (error < 0.5 * nothing).all()
        assert is_oracle(FittedDepth(32), batch)


def test_only_what_is_used_is_made(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("datamodules.video.domains.make_clips", lambda spec, root: made.append((spec, root)))
    domains(tmp_path, train_on=["wild"]).prepare_data()
    assert made == [(WILD, tmp_path)]
    domains(tmp_path, train_on=["wild"], test_on="studio").prepare_data()
    assert made[1:] == [(WILD, tmp_path), (STUDIO, tmp_path)]
    assert "trained on wild" in domains(tmp_path, train_on=["wild"]).notes()["data"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_on": ["moon"]}, "train_on names 'moon', which is none of the domains: choose of studio, wild"),
        ({"test_on": "moon"}, "test_on names 'moon'"),
        ({"train_on": []}, r"train_on is \[\]: name one or more of studio, wild, each once"),
        ({"train_on": ["wild", "wild"]}, "each once"),
        ({"shares": {"studio": 1}}, r"shares is .*: give each of studio, wild a whole number"),
        ({"shares": {"studio": 0, "wild": 1}}, "a whole number from 1 on"),
    ],
)
def test_a_name_that_is_none_is_said(tmp_path, options, sentence):
    with pytest.raises(DataError, match=sentence):
        domains(tmp_path, **options)


ARGS = [
    "--model=models.reference.TrainMean",
    "--data=datamodules.video.domains.PortraitDomains",
    "--data.init_args.root=a",
    "--data.init_args.image_size=32",
    "--data.init_args.domains=" + json.dumps({name: asdict(spec) for name, spec in DOMAINS.items()}),
]


def run(*args):
    whole = [*ARGS, "--data.init_args.train_on=[wild]", "--data.init_args.test_on=wild", *args]
    return runs.Run.of("test", cli.parse(["test", *whole]), cli.parse, tuple(whole))


def test_one_fit_is_tested_on_any_domain():
    """Also by the line that is printed for it, of which the domains are a part."""
    wild, studio = run(), run("--data.init_args.test_on=studio")
    fits = wild.needs["checkpoint"], studio.needs["checkpoint"]
    assert wild.key != studio.key
    assert fits[0].key == fits[1].key
    again = runs.Run.of("fit", cli.parse(["fit", *fits[0].args, "--data.init_args.test_on=studio"]), cli.parse)
    assert again.key == fits[0].key
    assert run("--data.init_args.train_on=[studio]").needs["checkpoint"].key != fits[0].key
    assert run("--data.init_args.root=elsewhere").needs["checkpoint"].key == fits[0].key


def test_an_overlay_changes_one_number_of_a_domain():
    parsed = cli.parse(["test", *ARGS, "--data.init_args.train_on=[wild]", "--data.init_args.test_on=wild",
                        "--data.init_args.domains.wild.train_people=7"])  # fmt: skip
    changed = parsed.data.init_args.domains
    assert changed["wild"].train_people == 7
    assert changed["wild"].depth_by == "fit"
    assert changed["studio"].studio is True
    assert replace(WILD, train_people=7).hash != WILD.hash
