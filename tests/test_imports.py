"""Imports point one way, from package to package and in the portrait world from room to room, and never in a circle.

The modules are read, not imported.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "benchmarks": {"benchmarks", "datamodules", "models", "metrics"},
    "datamodules": {"datamodules", "models"},
    "metrics": {"metrics", "models"},
    "models": {"models"},
}
FOR_METRICS = {"models.weights", "models.errors", "models.pixels"}  # and what these need
WORLD = ("body", "paint", "scene", "sets", "export", "show")  # a later room may import an earlier one


class Import(NamedTuple):
    """One import: what it names, whether a function holds it, and whether a comment stands beside it."""

    name: str
    hidden: bool
    explained: bool


def module_of(path: Path, root: Path = ROOT) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources(root: Path = ROOT) -> dict[str, Path]:
    paths = (path for package in MAY_IMPORT for path in sorted((root / package).rglob("*.py")))
    return {module_of(path, root): path for path in paths}


def names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert not node.level, "imports of this house are absolute"
    return [f"{node.module}.{alias.name}" for alias in node.names]


def imports_of(source: str) -> Iterator[Import]:
    lines = source.splitlines()

    def inside(node: ast.AST, hidden: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                beside = lines[child.lineno - 1], lines[child.lineno - 2].lstrip()
                explained = "  # " in beside[0] or beside[1].startswith("# ")
                yield from (Import(name, hidden, explained) for name in names(child))
            yield from inside(child, hidden or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return inside(ast.parse(source), False)


@cache
def imports(root: Path = ROOT) -> dict[str, list[Import]]:
    """Every module's imports; those of ours by the module, whatever of it is imported."""
    ours = sources(root)

    def resolved(entry: Import) -> Import:
        parent = entry.name.rpartition(".")[0]
        return entry._replace(name=parent) if entry.name not in ours and parent in ours else entry

    return {module: [resolved(each) for each in imports_of(path.read_text())] for module, path in ours.items()}


def ours_of(module: str) -> set[str]:
    return {each.name for each in imports()[module] if each.name in sources()}


def closure(modules: set[str], hidden: bool = True) -> set[str]:
    """The modules, and all of ours that they need."""
    reached: set[str] = set()
    ahead = set(modules)
    while ahead:
        module = ahead.pop()
        reached.add(module)
        taken = {each.name for each in imports()[module] if each.name in sources() and (hidden or not each.hidden)}
        ahead |= taken - reached
    return reached


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_packages_import_one_way():
    wrong = [
        f"{module} imports {name}"
        for module in sources()
        for name in ours_of(module)
        if name.split(".")[0] not in MAY_IMPORT[module.split(".")[0]]
    ]
    assert wrong == []


def test_metrics_need_weights_errors_and_pixels_of_the_models_and_nothing_else():
    allowed = closure(FOR_METRICS)
    wrong = [
        f"{module} imports {name}"
        for module in sources()
        if module.startswith("metrics")
        for name in ours_of(module)
        if name.startswith("models") and name not in allowed
    ]
    assert wrong == []


def test_metrics_load_no_lightning():
    reached = closure({module for module in sources() if module.startswith("metrics")})
    loaded = [(module, each.name) for module in sorted(reached) for each in imports()[module]]
    assert "models.weights" in reached
    assert [module for module, name in loaded if name.split(".")[0] in ("lightning", "pytorch_lightning")] == []


@pytest.mark.parametrize("hidden", [False, True], ids=["at module level", "without a reason beside it"])
def test_no_imports_form_a_circle(hidden: bool):
    graph = {
        module: {each.name for each in entries if not each.hidden or (hidden and not each.explained)} & set(sources())
        for module, entries in imports().items()
    }
    assert circle(graph) == []


def test_the_rooms_of_the_portrait_world_follow_one_another():
    rooms = {module: module.split(".")[2] for module in sources() if module.startswith("datamodules.world.")}
    order = {room: number for number, room in enumerate(WORLD)}
    inside = {module for module, room in rooms.items() if room in order}
    wrong = [
        f"{module} imports {name}"
        for module in inside
        for name in ours_of(module) & inside
        if order[rooms[name]] > order[rooms[module]]
    ]
    assert {rooms[module] for module in inside} == set(WORLD)
    assert wrong == []


def test_the_reader_of_imports_sees_every_kind():
    source = """import a.b
def f():
    from models import errors
    # because
    import c
    import d  # because
"""
    assert list(imports_of(source)) == [
        Import("a.b", False, False),
        Import("models.errors", True, False),
        Import("c", True, True),
        Import("d", True, True),
    ]
    assert circle({"a": {"b"}, "b": {"a"}})
    assert circle({"a": {"b"}, "b": {"c"}}) == []
