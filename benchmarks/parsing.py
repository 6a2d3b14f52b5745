"""The parser of the command line: a mistake is one sentence, with the file that holds it."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from models.reading import reading

_KINDS = LightningCLI.subcommands()


@dataclass(frozen=True)
class Asked:
    """What is parsed: by the parser of a subcommand, and within it by those of classes.

    Args:
        kind: The subcommand; empty if there is none.
        given: The arguments, less the names of files.
        files: What the files hold that they name.
    """

    kind: str = ""
    given: tuple[str, ...] = ()
    files: Mapping[Path, object] = field(default_factory=dict)

    def holding(self, name: str) -> str:
        """The files that hold a name, or a class, as a clause; empty if none does, or an argument."""
        if any(name.rpartition(".")[2] in argument for argument in self.given):
            return ""
        there = {path: any(each.endswith(f".{name}") for each in _names(tree)) for path, tree in self.files.items()}
        holding = [str(path) for path, holds in there.items() if holds]
        return f", see {', '.join(holding)}" if holding else ""


class OneSentenceParser(LightningArgumentParser):
    """Ends a mistake in the arguments with one sentence, where jsonargparse prints every option it knows."""

    asked: ClassVar[Asked | None] = None  # of all parsers, for those of classes are called within that of a subcommand

    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401 - argparse's own
        """Parses, after a look at the files that are named."""
        if OneSentenceParser.asked:
            return super().parse_args(args, *more, **options)
        OneSentenceParser.asked = self._asked(tuple(map(str, sys.argv[1:] if args is None else args)))
        try:
            return super().parse_args(args, *more, **options)
        finally:
            OneSentenceParser.asked = None

    def _asked(self, given: tuple[str, ...]) -> Asked:
        kind = getattr(self, "subcommand", None) or next((each for each in given[:1] if each in _KINDS), "")
        files: dict[Path, object] = {}
        for path in _config_files(given):
            with reading(path, "configuration", "write names and values in YAML, as the files in benchmarks/ do."):
                files[path] = yaml.safe_load(path.read_text(encoding="utf-8"))
                if not isinstance(files[path], dict):
                    raise ValueError("it holds no names with values")
        return Asked(kind, tuple(each for each in given if Path(each.rpartition("=")[2]) not in files), files)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exits with status 2."""
        told = re.findall(r"(Option '[^']+' is not accepted|File does not exist: \S+|Expected [^\n]+)", message)
        sentence = told[0] if told else message.strip().splitlines()[0]
        unknown = r"given class_path '([^']+)':\s+(?:module '\S+' has no attribute|No module named)"
        if absent := re.search(unknown, message):
            sentence = f"There is no class '{absent[1]}'"
        key = re.search(r'[Pp]arser key "([^"]+)"', message)
        where = f" (in '{key[1]}')" if key else ""
        name = re.search(r"(?:[Oo]ption|no class) '([^']+)'", sentence) or key
        asked = OneSentenceParser.asked or Asked()
        files = asked.holding(name[1]) if name else ""
        listed = " ".join(filter(None, ("lightning", asked.kind, "--help")))
        self.exit(2, f"error: {sentence}{where}{files}; the options are listed by: {listed}\n")


def _names(tree: object, prefix: str = "") -> Iterator[str]:
    """The dotted names in a configuration, and the texts that are values."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, part in parts:
        yield f"{prefix}.{name}"
        yield from _names(part, f"{prefix}.{name}")
    if isinstance(tree, str):
        yield f".{tree}"


def _config_files(args: tuple[str, ...]) -> tuple[Path, ...]:
    """The files that arguments name after ``-c`` or ``--config``; one that is not there is told of by the parser."""
    joined = re.findall(r"(?:^|\0)(?:-c|--config)[=\0]?([^\0]+)", "\0".join(args))
    return tuple(path for path in map(Path, joined) if path.is_file())
