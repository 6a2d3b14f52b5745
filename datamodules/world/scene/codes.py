"""The codes that a picture is drawn from: person, camera, light and state of the face, ready for JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array
from datamodules.world.paint.looks import ALBEDO
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import Person
from datamodules.world.scene.setting import Setting
from models.files import write_text

Codes = dict[str, Any]


def write_codes(path: Path, codes: Mapping[str, Any]) -> None:
    """Writes codes as a JSON file of one line."""
    write_text(path, json.dumps(codes) + "\n")


def person_codes(person: Person) -> Codes:
    """Shape ``shape`` (50 coefficients) and the fields of `looks.Looks`; ``albedo`` by the names of `looks.ALBEDO`."""
    looks = _plain(asdict(person.looks))
    return {"shape": person.code.tolist(), **looks, "albedo": _named(ALBEDO, person.looks.albedo)}


def setting_codes(setting: Setting) -> Codes:
    """Every field of `setting.Setting` but the background, which is a picture."""
    codes = _plain(asdict(replace(setting, background=np.zeros(0))))
    return {name: value for name, value in codes.items() if name != "background"}


def moment_codes(moment: Moment) -> Codes:
    """Every field of `motion.Moment`; ``expression`` by the names of `expression.NAMES`."""
    return {**_plain(asdict(moment)), "expression": _named(NAMES, moment.expression)}


def _named(names: tuple[str, ...], values: Array) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field of a dataclass
    """The value as JSON would give it back: arrays and tuples as lists."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
