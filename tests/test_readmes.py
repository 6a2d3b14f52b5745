"""What the pages say: every command is parsed by its own parser, every link leads somewhere, the example runs."""

import argparse
import importlib
import pkgutil
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from benchmarks import cli, score
from benchmarks.report import avatar_figures, spec
from datamodules.world.export.layouts import LAYOUTS
from datamodules.world.sets.presets import PRESETS
from models.tasks import Context
from models.weights import FILES

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "datamodules", "metrics", "models")
PAGES = [ROOT / "README.md", ROOT / "results/README.md", *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))]
SYSTEM = ("test", "-c", "benchmarks/dagan.yaml", "-c", "benchmarks/tiny/dagan.yaml")  # what an addition is added to
STARTS = ("python", ".venv", "lightning", "torchrun", "srun", "make", "pip")


class Parsed(BaseException):
    """The command's parser took its arguments, and nothing more is done."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.options = options


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[str]:
    """Code inside of sentences and tables."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part for part in re.sub(r"(^|\s)#.*", "", line).split("&&") if part.strip())
    yield from (span for span in spans(page) if re.match(rf"({'|'.join(STARTS)})\S* ", span))


def additions(page: Path) -> list[str]:
    """Arguments that a sentence adds to a line."""
    return [span for span in spans(page) if re.match(r"-c |--(data|trainer|model)\.\S+=", span)]


def check(command: str) -> None:
    """Looks at a command as the shell would split it."""
    name, *arguments = shlex.split(command)
    CHECKS[Path(name).name](arguments)


def check_python(arguments: list[str]) -> None:
    option, module, *rest = arguments
    assert option == "-m"
    if module in ("pytest", "venv"):
        assert importlib.util.find_spec(module)
    elif module == "benchmarks.cli":
        check_lightning(rest)
    else:
        check_options(module, rest)


def check_options(module: str, arguments: list[str]) -> None:
    """Calls the module's own main until its parser is done, and looks at what the options name."""
    if not arguments:  # a sentence names the command
        assert callable(main_of(module))
        return
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            call(module, arguments)
        return
    if module == "benchmarks.score":  # whose options depend on the task
        assert score.options_of(arguments)
        return
    with pytest.raises(Parsed) as parsed:
        call(module, arguments)
    options = vars(parsed.value.options)
    for option, values in names().items():
        given = options.get(option) or []
        assert set([given] if isinstance(given, str) else given) <= values, f"--{option}"
    assert not options.get("rebuild") or (ROOT / options["rebuild"]).is_dir()


@cache
def names() -> dict[str, set[str]]:
    """What options may name."""
    tables = spec.load_all()
    rows = {"average", *(row.name for table in tables for row in table.rows)}
    own = {"tables": {table.name for table in tables}, "rows": rows}
    return own | {"preset": set(PRESETS), "layout": set(LAYOUTS), "names": set(FILES)}


def call(module: str, arguments: list[str]) -> None:
    def parse(parser: argparse.ArgumentParser, given: list[str] | None = None, *more: argparse.Namespace) -> None:
        options, rest = parser.parse_known_args(given, *more)
        assert not rest, f"{rest} are no options of {module}"
        raise Parsed(options)

    def opened(line: list[str]) -> None:
        check_lightning(["test", *line])
        raise Parsed(argparse.Namespace())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        patch.setattr(avatar_figures, "opened", opened)
        patch.setattr(sys, "argv", [module, *arguments])
        main_of(module)()


def main_of(module: str) -> Callable[[], object]:
    path = f"{module}.__main__" if hasattr(importlib.import_module(module), "__path__") else module
    return importlib.import_module(path).main


def check_lightning(arguments: list[str]) -> None:
    if arguments and arguments[1:]:
        assert cli.parse(arguments)
    else:  # a sentence names the command
        assert set(arguments) <= set(cli.BenchmarkCLI.subcommands())


def check_make(arguments: list[str]) -> None:
    recipes = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in recipes[arguments[0]].replace("OMP_NUM_THREADS=1 ", "").splitlines():
        if line.startswith("\t$(BIN)/python "):
            check(line.strip().replace("$(BIN)/", ""))


def check_pip(arguments: list[str]) -> None:
    install, editable, target = arguments
    assert (install, editable) == ("install", "-e")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.fullmatch(r"\.\[([\w-]+)\]", target)[1] in extras


def check_wrapped(arguments: list[str]) -> None:
    """What stands behind the options of a launcher."""
    inner = next(i for i, word in enumerate(arguments) if word in ("-m", "lightning"))
    check(shlex.join(["python"] * (arguments[inner] == "-m") + arguments[inner:]))


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "python": check_python,
    "python3": check_python,
    "lightning": check_lightning,
    "make": check_make,
    "pip": check_pip,
    "srun": check_wrapped,
    "torchrun": check_wrapped,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for command in commands(page):
        check(command)
    for addition in additions(page):
        check_lightning([*SYSTEM, *shlex.split(addition)])


@pytest.mark.parametrize("command", ["python -m benchmarks.tables --rebuilt results/tables/tiny"])
def test_a_command_that_is_none_is_seen(command):
    with pytest.raises(AssertionError, match="no options"):
        check(command)


@pytest.mark.parametrize(
    "command",
    [
        "lightning fit -c benchmarks/nobody.yaml",
        "lightning fit -c benchmarks/dagan.yaml --data.init_args.nothing=1",
        "srun --kill-on-bad-exit=1 lightning fit -c benchmarks/nobody.yaml",
        "python -m benchmarks.cli test -c benchmarks/nobody.yaml",
        "python -m benchmarks.run_all --scale vast",
    ],
)
def test_a_command_that_is_refused_is_seen(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        check(command)


@pytest.mark.parametrize("command", ["python -m benchmarks.nothing", "make tea", "pip install -e .[none]", "curl x"])
def test_a_module_a_target_and_an_extra_that_are_not_there_are_seen(command):
    with pytest.raises((ModuleNotFoundError, KeyError, AssertionError)):
        check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_looked_at_and_every_link_leads_somewhere(page):
    text = page.read_text()
    fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)
    assert set(fences[::2]) <= {"bash", "python", "yaml"}
    assert set(fences[1::2]) <= {""}
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in (link for link in links if "://" not in link):
        assert (page.parent / link.partition("#")[0]).exists(), link
    for path in (span for span in spans(page) if re.fullmatch(r"[\w./]+/[\w.]+\.(py|yaml|md)", span)):
        assert path in MADE_UP or any((folder / path).exists() for folder in (ROOT, page.parent)), path
    for name in (span for span in spans(page) if re.fullmatch(rf"({'|'.join(FOLDERS)})(\.\w+)+", span)):
        assert pkgutil.resolve_name(name), name


def test_every_page_is_led_to():
    led = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    assert set(PAGES) - led == {ROOT / "README.md"}


@pytest.mark.parametrize("folder", ["benchmarks", "models/dagan"])
def test_every_file_of_a_folder_is_named_on_its_pages(folder):
    named = {span.strip("/") for page in (ROOT / folder).glob("*.md") for span in spans(page)}
    kinds = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".yaml") or path.is_dir()}
    assert not kinds - named - {"__init__.py", "__pycache__", "variants"}


MADE_UP = ("models/average.py", "benchmarks/variants/dagan/average.yaml", "variants/dagan/average.yaml")


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_bytes()) <= 9_000


def test_the_readmes_method_is_a_row(tmp_path, monkeypatch):
    (source,), (overlay,) = blocks(ROOT / "README.md", "python"), blocks(ROOT / "README.md", "yaml")
    module = ModuleType("models.average")
    exec(source, vars(module))
    module.Average.__module__ = "models.average"
    monkeypatch.setitem(sys.modules, "models.average", module)
    monkeypatch.chdir(ROOT)
    (tmp_path / "average.yaml").write_text(overlay)
    config = cli.parse([*SYSTEM, "-c", str(tmp_path / "average.yaml")])
    assert config.model.class_path == "models.average.Average"
    source, driving = torch.zeros(2, 3, 4, 4), torch.ones(2, 5, 3, 4, 4)
    assert torch.equal(module.Average(4).reenact(source, driving, Context()), torch.full_like(driving, 0.5))
    row = next(yaml.safe_load(span)[0] for span in spans(ROOT / "README.md") if span.startswith("- {name:"))
    assert spec.Row(**row).name == "average"
