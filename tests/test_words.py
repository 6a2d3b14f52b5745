"""One name for one thing, across the house, and nouns for what helpers return."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.test_imports import sources

VERBS = {"found", "told", "know", "seen", "whole"}  # not what they hold, but that they hold it


def classes() -> dict[str, list[str]]:
    """The modules in which each public class stands."""
    where = defaultdict(list)
    for module, path in sources().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module)
    return where


def aliases() -> Iterator[tuple[str, str, str]]:
    """Name, module and meaning of each public alias of a type."""
    for module, path in sources().items():
        for node in ast.parse(path.read_text()).body:
            named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if named and (name := node.targets[0].id)[0].isupper() and not name.isupper():
                yield name, module, ast.unparse(node.value)


def helpers(tree: ast.Module) -> Iterator[str]:
    """The names that a module gives to functions, methods and values of its own level."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_no_two_classes_have_one_name():
    shared = {name: modules for name, modules in classes().items() if len(modules) > 1}
    assert shared == {}


def test_an_alias_has_one_meaning_and_is_no_class():
    meanings = defaultdict(set)
    for name, _, meaning in aliases():
        meanings[name].add(meaning)
    assert meanings.keys() & classes().keys() == set()
    assert {name: those for name, those in meanings.items() if len(those) > 1} == {}


@pytest.mark.parametrize("package", ["benchmarks", "datamodules", "metrics", "models"])
def test_helpers_are_called_by_what_they_give(package):
    named = {
        f"{module}.{name}"
        for module, path in sources().items()
        if module.split(".")[0] == package
        for name in helpers(ast.parse(path.read_text()))
        if name.strip("_") in VERBS
    }
    assert named == set()


def test_the_reader_of_names_sees_every_kind():
    tree = ast.parse("_told = 1\nseen: int = 2\nclass A:\n    def know(self): pass\ndef found(): pass\n")
    assert set(helpers(tree)) == {"_told", "seen", "know", "found"}
