"""Published models on this machine: a folder, or what lies in the hub's cache; nothing is fetched."""

from pathlib import Path


def local(name: str) -> Path | None:
    """The folder of that name, or the newest copy in the hub's cache of what the hub calls so; None without either."""
    from huggingface_hub import snapshot_download  # takes a second, and few look for published models
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # as above

    if name and (folder := Path(name).expanduser()).is_dir():
        return folder
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
