"""What keeps a task a file: no code outside the two folders of tasks asks which task it has."""

import ast
from pathlib import Path

import pytest

from benchmarks.tasks import names

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks/tasks", "models/tasks")
SOURCES = [
    path
    for package in ("benchmarks", "datamodules", "metrics", "models")
    for path in sorted((ROOT / package).rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(FOLDERS)
]
OUTPUTS = {"AvatarEstimate", "DepthEstimate", "FitReport"}


def words(node):
    """The texts in an expression."""
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def asks_for_a_task(node):
    """Whether a comparison holds a task's name, and its other side is called task."""
    if not isinstance(node, ast.Compare) or not any(
        "task" in ast.unparse(side) for side in (node.left, *node.comparators)
    ):
        return False
    return bool(words(node) & set(names()))


def asks_for_an_output(node):
    """Whether ``isinstance`` is asked of what a method returns."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
    return is_call and bool({part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & OUTPUTS)


@pytest.mark.parametrize("source", ['a.task == "depth"', 'task in ("avatar", "x")', 'asked["task"] != "depth"'])
def test_a_comparison_with_a_tasks_name_is_seen(source):
    assert any(map(asks_for_a_task, ast.walk(ast.parse(source))))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_outside_the_tasks_asks_which_task_it_has(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = [node.lineno for node in ast.walk(tree) if asks_for_a_task(node) or asks_for_an_output(node)]
    assert not lines, f"{path}: lines {lines} ask for a task or its output"


def test_the_tasks_are_the_files_that_say_how_one_is_scored():
    assert names() == ["avatar", "cross_reenactment", "depth", "depth_to_image", "editing", "self_reenactment"]
