"""Every pretrained file: where it lies, its checksum, how it is read; fetched only when asked.

python -m models.weights list|fetch|verify [NAME ...]

A file is looked for under its published name in the folder that the environment variable ``PORTRAIT_WEIGHTS`` names,
then in the installed package that carries it, if one does, then in the cache of torch.hub (``TORCH_HOME`` moves it).
Nothing but ``fetch`` downloads, and what a package carries comes by pip alone. Whatever is read is verified first,
wherever it lies; the records are in `models.weight_files`.
"""

import argparse
import os
import re
import sys
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from models.errors import UserError
from models.reading import reading, reason
from models.weight_files import FILES, WeightsFile

__all__ = ["FILES", "WeightsFile", "fetch", "find", "load", "load_script", "main", "place", "verified", "verify"]

FOLDER = "PORTRAIT_WEIGHTS"
_NOT_WEIGHTS = (b"<", b"version https://git-lfs")  # the error page or the pointer that hosts give for the file


def find(name: str) -> Path | None:
    """The file, in ``$PORTRAIT_WEIGHTS``, else in its package, else in the cache; never fetched here."""
    folder, file = os.environ.get(FOLDER), FILES[name]
    explicit = Path(folder) / file.file_name if folder else None
    return next((path for path in (explicit, file.packaged, file.path) if path and path.is_file()), None)


def verify(name: str) -> bool:
    """Whether the file has the SHA-256 that its publisher names, or else the one that was recorded when it came.

    Raises:
        UserError: If it is not there, or there is nothing to hold it to.
    """
    path = _present(name)
    expected = FILES[name].sha256 or _recorded(path)
    if expected is None:
        raise UserError(
            f"The publisher of {path} names no checksum, and none is recorded beside it; "
            f"if you trust the file, record it: python -m models.weights fetch {name}"
        )
    return _digest(path).startswith(expected)


def verified(name: str) -> Path:
    """The path of a file that is there and is what it should be.

    Raises:
        UserError: If it is absent, or is not the file that was published.
    """
    if not verify(name):
        raise UserError(f"{find(name)} is damaged; {_replaced(name)}")
    return _present(name)


def _replaced(name: str) -> str:
    """The remedy for a damaged file."""
    return _reinstalled(name) if _is_packaged(name) else f"delete it, then: python -m models.weights fetch {name}"


def _is_packaged(name: str) -> bool:
    """Whether the file that is found is the one in its package."""
    path = find(name)
    return path is not None and path == FILES[name].packaged


def _reinstalled(*names: str) -> str:
    """Pip leaves a package that it has installed as it is, unless it is made to."""
    packages = dict.fromkeys(FILES[name].package.replace("_", "-") for name in names)
    return f"pip install --force-reinstall --no-deps {' '.join(packages)}"


def load(name: str) -> dict[str, Tensor]:
    """Reads the state dict of a verified file: weights only, or safetensors.

    Raises:
        UserError: If the file is absent, is not the one that was published, is damaged, or holds more than weights.
    """
    path = verified(name)
    with reading(path, "file of plain weights", again(name)):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)


def load_script(name: str) -> Any:  # noqa: ANN401 - torch.jit has no types
    """Reads a verified TorchScript file.

    Raises:
        UserError: If the file is absent, is not the one that was published, or is damaged.
    """
    path = verified(name)
    with reading(path, "TorchScript file", again(name)):
        return torch.jit.load(str(path), map_location="cpu")


def again(*names: str) -> str:
    """The remedy for files that agree with their checksums and cannot be read: records of these are to go, too."""
    packaged = [name for name in names if _is_packaged(name)]
    others = [name for name in names if name not in packaged]
    steps = [_reinstalled(*packaged)] if packaged else []
    if others:
        paths = [path for name in others for path in (_present(name), _beside(_present(name))) if path.exists()]
        told = ", ".join(f"'{path}'" for path in paths)
        steps.append(f"delete {told}, then: python -m models.weights fetch {' '.join(others)}")
    return "; and ".join(steps)


def place(name: str) -> Path:
    """The verified file at its place in torch.hub's cache, where other packages look for it and so fetch nothing.

    Raises:
        UserError: If the file is absent, or is not the one that was published.
    """
    path, place = verified(name), FILES[name].path
    if path == place:
        return place
    if place.exists() and (place.is_dir() or _digest(place) != _digest(path)):
        raise UserError(f"{place} is another file than {path}; delete the former.")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(path.resolve())
    return place


def fetch(name: str) -> Path:
    """Downloads the file into the cache unless it is there, checks it, and records its checksum if it has no other.

    Raises:
        UserError: If it cannot be got, or is not the file that was published.
    """
    file, path = FILES[name], find(name)
    if path is None:
        path = file.path
        if file.package:
            raise UserError(f"The weights '{name}' ({file.licence}) come with a package: {file.by_hand}")
        if not file.url:
            raise UserError(f"The weights '{name}' have no address; {file.by_hand}, and put the file at {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_folder(path)
        _download(file)
    if file.sha256 is None and _recorded(path) is None:
        _refuse_folder(_beside(path))
        _beside(path).write_text(f"{_digest(path)}  {path.name}\n")
    return verified(name)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"'{path}' is a folder in the place of a file; delete it.")


def _present(name: str) -> Path:
    path, file = find(name), FILES[name]
    if path is None and file.package:
        raise UserError(f"The weights '{name}' are not installed: {file.by_hand}")
    if path is None:
        raise UserError(f"The weights '{name}' are not at {file.path}; fetch: python -m models.weights fetch {name}")
    return path


def _digest(path: Path) -> str:
    with reading(path, "file", "let it be read, or delete it."), path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    """The digest in the record beside a file, which is in the format of sha256sum."""
    beside = _beside(path)
    if not beside.is_file():
        return None
    with reading(beside, "checksum", "write it anew with sha256sum."):
        digest = beside.read_text().split(" ")[0].strip()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UserError(f"{beside} does not begin with a SHA-256; write it anew with sha256sum.")
    return digest


def _download(file: WeightsFile) -> None:
    """Writes the file into the cache once it is whole and has the published checksum."""
    with TemporaryDirectory(dir=file.path.parent) as folder:
        got = Path(folder) / file.file_name
        try:
            torch.hub.download_url_to_file(file.url, str(got), hash_prefix=None if file.member else file.sha256)
            if file.member:
                got = _extracted(got, file.member)
            with got.open("rb") as head:
                if head.read(32).startswith(_NOT_WEIGHTS):
                    raise ValueError("a page was given instead")
        except Exception as error:  # of the network, of another checksum, and those of a zip that is broken
            raise UserError(
                f"{file.url} could not be fetched ({reason(error)}); get the file by hand and put it at {file.path}"
            ) from None
        got.replace(file.path)


def _extracted(archive: Path, member: str) -> Path:
    with ZipFile(archive) as files:
        found = [entry for entry in files.namelist() if Path(entry).name == member]
        if len(found) != 1:
            raise ValueError(f"the archive holds {len(found)} files called {member}")
        return Path(files.extract(found[0], archive.parent / "unpacked"))


def main(arguments: list[str] | None = None) -> None:
    """Lists, fetches or verifies files; a damaged or missing one ends with status 1, after all the others."""
    parser = argparse.ArgumentParser(prog="python -m models.weights", description="Pretrained files of the suite.")
    parser.add_argument("action", choices=("list", "fetch", "verify"))
    parser.add_argument("names", nargs="*", help="Files; all of them unless given (fetch: all that are free to use).")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(FILES):
        sys.exit(f"error: no weights are called {', '.join(sorted(unknown))}; there are: {', '.join(FILES)}")
    failures = []
    for name in options.names or _all_for(options.action):
        try:
            _act(options.action, name)
        except UserError as error:
            failures.append(str(error))
    if failures:
        sys.exit("\n".join(f"error: {failure}" for failure in failures))


def _all_for(action: str) -> list[str]:
    """What an action without names is about."""
    if action == "list":
        return list(FILES)
    if action == "verify":
        return [name for name in FILES if find(name)]
    packaged = [name for name, file in FILES.items() if file.package]
    left = [name for name, file in FILES.items() if name not in packaged and (file.non_commercial or not file.url)]
    print(f"Fetched only by their names, for their licences: {', '.join(left)}")
    for name in packaged:
        print(f"Not fetched, for it comes with a package: {name} ({FILES[name].by_hand})")
    return [name for name in FILES if name not in left + packaged]


def _act(action: str, name: str) -> None:
    file = FILES[name]
    if action == "fetch":
        print(f"{name}: licence: {file.licence}")
        fetch(name)
    state = "absent" if find(name) is None else "present"
    if action != "list":
        verified(name)
        state = "verified"
    print(f"{name}: {state}\n  {find(name) or file.path}\n  {file.url or file.by_hand}\n  {_terms(file)}")


def _terms(file: WeightsFile) -> str:
    digest = f"sha256 {file.sha256}{'' if len(file.sha256) == 64 else '...'}" if file.sha256 else "no published sha256"
    size = f", {file.megabytes} MB" if file.megabytes else ""
    licence = f"{file.licence}{' (fetched only by name)' if file.non_commercial and not file.package else ''}"
    return f"{digest}{size}; {licence}; for the {file.purpose}"


if __name__ == "__main__":
    main()
