"""The validity card of the suite's own edit classifier: what it tells of people that it has never seen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.procface.augment import blurred, noisy, without_face
from benchmarks.procface.data import tensors
from benchmarks.proxyedit.data import KINDS, STYLES, EditSet, open_set
from datamodules.world.sets.portraits import WORLD_VERSION
from metrics.editing_proxy import edit_direction
from metrics.pictures import as_saved
from metrics.procface import resized
from metrics.proxyedit import CLASSES, SHA256, ProxyEdit, fitted, shipped_proxyedit
from metrics.statistics import bootstrap_interval
from models.files import write_text

Degrade = Callable[[Tensor], Tensor]
BLURS = (0.5, 1.0, 1.5, 2.0, 3.0)  # pixels at 64 px
NOISE = 0.1  # deviation
SHOWN = {"unedited": "unedited", "perfect": "perfect targets", "drifted": "training targets of severity 1"}

_TEXT = """# The suite's own edit classifier: validity card

*The numbers are computed by `python -m benchmarks.proxyedit card`.*

`proxyedit` ({parameters:,} parameters, weights {digest}...) is trained by `python -m benchmarks.proxyedit train` on the
portrait world alone (its version {version} draws what is measured here), on people of family 9 of its seeds.
**What rests on it is not comparable with published numbers**, with CLIP scores least of all.

## What it tells

{pairs} pairs of people whom it has never seen (family 10; nobody of any table), each edit as photograph and as cartoon,
at {size} px. The share of pictures whose likeliest class, of eight edits and none, is the right one; 95 % intervals are
bootstrapped over pairs (BCa). The style of a table is costumes on photographs and expressions on cartoons.

{kinds}

## Edit by edit

Perfect targets (rows) and what it takes them for, in % of each row.

{confusion}

## Under blur and noise

The same share at {size} px of pictures that are blurred (deviation in pixels) or noisy. A method whose pictures are so
blurred loses no more than this by the classifier.

{ladder}

## Directions

`proxy-edit-direction`: the cosine, in 64 features, of the change from the input to a picture and to the perfect edit.

{directions}

## Limits

- It looks at 64 x 64 pixels, of portraits as the suite frames them.
- A picture that shows none of the eight edits is none, whatever else has changed.
- It does not know what is no portrait: of faceless pictures (corners, scrambled tiles, noise, flat colours) it takes
  {faceless:.0%} for unedited ones, and the others for some edit. A method that paints nothing is not caught here.
- It was taught with drift, blur, noise and JPEG so that its reading survives them: it says whether the edit is there,
  not how well it is painted.
"""


def write_card(path: Path, pairs: int, root: Path, seed: int = 0) -> None:
    """Measures the shipped classifier and writes the card."""
    spec = EditSet(pairs, "test", seed=seed)
    data = tensors(open_set(spec, root))
    network = shipped_proxyedit(torch.device("cpu"))
    text = _TEXT.format(
        digest=SHA256[:12], version=WORLD_VERSION, pairs=pairs, size=spec.image_size,
        parameters=sum(value.numel() for value in network.parameters()), kinds=kind_table(network, data),
        confusion=confusion_table(network, data), ladder=ladder_table(network, data),
        directions=direction_table(network, data), faceless=taken_for_unedited(network, data, seed),
    )  # fmt: skip
    write_text(path, text)


@torch.no_grad()
def look(network: ProxyEdit, images: Tensor) -> tuple[Tensor, Tensor]:
    """Classes ``N`` and features ``N 64`` of pictures ``N 3 S S`` in [0, 1] as they would be saved."""
    parts = [network(as_saved(piece).float()) for piece in images.split(64)]
    logits, features = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits.argmax(1), features


def right(network: ProxyEdit, data: dict[str, Tensor], change: Degrade = torch.clone) -> Tensor:
    """Whether each picture, changed, is taken for what it is, ``N``, bool."""
    return look(network, change(data["image"].float() / 255))[0] == data["label"]


def in_tables(data: dict[str, Tensor]) -> Tensor:
    """Which pictures have the style that tables have, ``N``, bool; unedited ones by the edit of their pair."""
    edit = data["label"].view(-1, len(KINDS)).amax(1, keepdim=True).expand(-1, len(KINDS)).flatten()
    costume = edit <= len(CLASSES) // 2
    return costume == (data["style"] == STYLES.index("realistic"))


def kind_table(network: ProxyEdit, data: dict[str, Tensor]) -> str:
    """The accuracy on each kind of picture: all, and in the style of tables."""
    correct, usual = right(network, data), in_tables(data)
    lines = ["| pictures | all | style of a table |", "|---|---|---|"]
    for place, kind in enumerate(KINDS):
        chosen = data["kind"] == place
        lines.append(f"| {SHOWN[kind]} | {_share(correct[chosen])} | {_share(correct[chosen & usual])} |")
    return "\n".join(lines)


def confusion_table(network: ProxyEdit, data: dict[str, Tensor]) -> str:
    """What perfect targets are taken for."""
    chosen = data["kind"] == KINDS.index("perfect")
    found = look(network, data["image"][chosen].float() / 255)[0]
    lines = [f"| | {' | '.join(CLASSES)} |", "|---" * (1 + len(CLASSES)) + "|"]
    for label, name in list(enumerate(CLASSES))[1:]:
        of_it = found[data["label"][chosen] == label]
        shares = [f"{100 * float((of_it == other).double().mean()):.0f}" for other in range(len(CLASSES))]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines)


def ladder_table(network: ProxyEdit, data: dict[str, Tensor]) -> str:
    """The accuracy on each kind of picture under blur and noise."""
    changes: dict[str, Degrade] = {f"blur {sigma:g} px": _blur(sigma) for sigma in BLURS}
    rng = torch.Generator().manual_seed(0)
    changes[f"noise {NOISE:g}"] = lambda images: noisy(images, NOISE, rng)
    lines = [f"| | {' | '.join(SHOWN[kind] for kind in KINDS)} |", "|---" * (1 + len(KINDS)) + "|"]
    for name, change in changes.items():
        correct = right(network, data, change)
        shares = [_share(correct[data["kind"] == place]) for place in range(len(KINDS))]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines)


def direction_table(network: ProxyEdit, data: dict[str, Tensor]) -> str:
    """The direction of pictures whose place between copy and perfect edit is known."""
    images = data["image"].float().div(255).unflatten(0, (-1, len(KINDS)))
    source, target, drifted = images.unbind(1)
    features = {
        "the copied input": source,
        "half the perfect edit (its mean with the input)": (source + target) / 2,
        "the training target of severity 1": drifted,
        "another person's perfect edit to something else": target.roll(1, 0),
        "the perfect edit, blurred by 1 px": blurred(target, 1.0),
        "the input, blurred by 1 px": blurred(source, 1.0),
    }
    before, after = (look(network, pictures)[1] for pictures in (source, target))
    lines = ["| picture | direction |", "|---|---|"]
    for name, pictures in features.items():
        values = edit_direction(look(network, pictures)[1], after, before)
        lines.append(f"| {name} | {float(values.mean()):.3f} |")
    return "\n".join(lines)


def taken_for_unedited(network: ProxyEdit, data: dict[str, Tensor], seed: int) -> float:
    """The share of pictures without a face, made from the unedited ones, that are taken for unedited."""
    unedited = data["image"][data["kind"] == KINDS.index("unedited")].float() / 255
    faceless = without_face(resized(unedited), torch.Generator().manual_seed(seed))
    return float((look(network, fitted(faceless))[0] == CLASSES.index("none")).double().mean())


def _blur(sigma: float) -> Degrade:
    return lambda images: blurred(images, sigma)


def _share(correct: Tensor) -> str:
    """A share with its interval; without one where all are alike."""
    values = correct.double().numpy()
    if np.ptp(values) == 0:
        return f"{values.mean():.3f} (n = {len(values)})"
    low, high = bootstrap_interval(values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
