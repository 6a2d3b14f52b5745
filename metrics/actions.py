"""Action units and blendshapes of faces: which are on in both pictures."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from metrics.base import Card, check_pair
from metrics.face_analysis import Face, FaceAnalyser, FaceAnalysisCache
from metrics.face_scores import ANALYSER, FaceMetric, FacePair


def aucon(preds: Tensor, target: Tensor) -> Tensor:
    """Share of action units ``B K``, bool, whose states agree, ``B`` in [0, 1].

    Raises:
        ValueError: If the shapes differ, or a state is neither 0 nor 1.

    Reference: Ha et al. 2020, MarioNETte, "AUCON".
    """
    _check_switches("B K", preds, target)
    return (preds.bool() == target.bool()).double().mean(1)


def bscon(preds: Tensor, target: Tensor) -> Tensor:
    """`aucon` of blendshapes ``B K``, bool, which are no action units."""
    return aucon(preds, target)


def cohen_kappa(preds: Tensor, target: Tensor) -> Tensor:
    """Agreement beyond chance of each of K switches over N pictures ``N K``, bool, ``K``; nan for one that never moves.

    All-off agrees with most pictures on most units; its kappa is 0. Errors are those of `aucon`.

    Reference: Cohen 1960, A coefficient of agreement for nominal scales.
    """
    _check_switches("N K", preds, target)
    ours, theirs = preds.double(), target.double()
    agreed = (ours == theirs).double().mean(0)
    chance = ours.mean(0) * theirs.mean(0) + (1 - ours.mean(0)) * (1 - theirs.mean(0))
    return torch.where(chance < 1, (agreed - chance) / (1 - chance), torch.nan)


def _check_switches(layout: str, *states: Tensor) -> None:
    check_pair(layout, *states)
    if any(((state != 0) & (state != 1)).any() for state in states):
        raise ValueError("A state of a unit is neither 0 nor 1; pass booleans, strengths compared with a threshold.")


class AUCON(FaceMetric):
    """`aucon` of two faces; `kappa` is the better statistic."""

    card = Card(
        name="AUCON",
        group="picture",
        higher_is_better=True,
        protocol="share of action units in the same state, a miss is 0",
        definition="Share of the action units that are on, or off, in both faces.",
        value_range="[0, 1]; 1 for equal states, however many faces are found",
        reference="Ha et al. 2020, MarioNETte",
        traps="Most units are off in most frames, so all-off and the still source score high; read kappa too.",
        parity="28",
        backbone=ANALYSER,
    )
    part, proxy_name, worst = "actions", "proxy-AUCON", 0.0
    on_truth: list[Tensor]
    on_generated: list[Tensor]

    def __init__(self, analyser: FaceAnalyser | str = "procface", cache: FaceAnalysisCache | None = None) -> None:
        super().__init__(analyser, cache)
        for state in ("on_truth", "on_generated"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def append_pairs(self, sample_ids: Sequence[str], pairs: Sequence[FacePair], status: Tensor | None = None) -> None:
        """Stores the values, and the states of the units that they come from."""
        super().append_pairs(sample_ids, pairs, status)
        complete = [truth is not None and generated is not None for truth, generated, _ in pairs]
        truths, generateds, _ = zip(*pairs, strict=True) if pairs else ((), (), ())
        for state, faces in ((self.on_truth, truths), (self.on_generated, generateds)):
            packed = [self._packed(face) if both else -1.0 for face, both in zip(faces, complete, strict=True)]
            state.append(torch.tensor(packed, dtype=torch.float64, device=self.device))

    compare = staticmethod(aucon)

    def kappa(self) -> Tensor:
        """Mean over the units of `cohen_kappa`, of the pictures with both faces; every process has to call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, distributed_available=self.distributed_available_fn):
            truth, generated = self._switches()
        return cohen_kappa(generated, truth).nanmean()

    def _packed(self, face: Face | None) -> float:
        """At most 52 switches as one integer below 2**53, exact in float64; its highest bit tells how many they are."""
        assert face is not None
        bits = self.read(face)[0].bool().tolist()
        return float(sum(on << place for place, on in enumerate([*bits, True])))

    def _switches(self) -> list[Tensor]:
        """The states ``N K`` of the truth and the generated, each sample once."""
        if isinstance(self.ids, list) and not self.ids:
            return [torch.empty(0, 0), torch.empty(0, 0)]
        _, first = np.unique(dim_zero_cat(self.ids).cpu().numpy(), return_index=True)
        packed = [dim_zero_cat(state).cpu().numpy()[first] for state in (self.on_truth, self.on_generated)]
        kept = [[int(number) for number in numbers if number > 0] for numbers in packed]
        if not kept[0]:
            return [torch.empty(0, 0), torch.empty(0, 0)]
        switches = [[[n >> k & 1 for k in range(n.bit_length() - 1)] for n in numbers] for numbers in kept]
        return [torch.tensor(rows, dtype=torch.bool) for rows in switches]


class BSCON(AUCON):
    """`bscon` of two faces."""

    card = replace(
        AUCON.card,
        name="BSCON",
        protocol="share of blendshapes in the same state (on from 0.5), a miss is 0",
        definition="Share of the blendshapes that are on, or off, in both faces.",
        reference="None: it is AUCON of what is no action unit",
        traps="Blendshapes are no FACS action units, so it is no AUCON; all-off scores high.",
    )
    proxy_name = "proxy-BSCON"
