"""Where weights come from: a file, a repository on Hugging Face (its cache first), or a name of the register."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks.published.entry import PublishedEncoder
from monai_ext.networks.published.register import REGISTER

__all__ = ["find_entry", "find_file", "is_named"]

logger = logging.getLogger(__name__)


def is_named(source: object) -> bool:
    """Whether ``source`` is ``hub:OWNER/NAME[/FILE]`` or a name of the register rather than a path."""
    return str(source).startswith("hub:") or (str(source) in REGISTER and not Path(str(source)).exists())


def find_entry(source: object) -> PublishedEncoder | None:
    """The entry of the register that a source is of; None for a file or a repository that is not there."""
    text = str(source)
    if text in REGISTER:
        return REGISTER[text]
    if not text.startswith("hub:"):
        return None
    repository, file = _split(text)
    entries = [entry for entry in REGISTER.values() if entry.repository == repository and file in ("", entry.file)]
    return entries[0] if len(entries) == 1 else None


def _split(source: str) -> tuple[str, str]:
    parts = source.removeprefix("hub:").split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise ConfigError(f"{source}: give hub:OWNER/NAME or hub:OWNER/NAME/FILE")
    return f"{parts[0]}/{parts[1]}", parts[2] if len(parts) > 2 else ""


def find_file(source: str | Path) -> Path:
    """The file of a source, downloaded if need be.

    Args:
        source: a path; ``hub:OWNER/NAME[/FILE]``, by default the file of the register or ``checkpoint_final.pth``; or a
            name of the register. The hub's own settings hold: ``HF_HOME``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``.

    Raises:
        CheckpointError: when there is no such file, none has been released, or it is not in the cache and cannot be
            downloaded; the message says what to download and where to put it.
        ConfigError: when ``source`` is malformed.
    """
    if not is_named(source):
        if not Path(source).is_file():
            near = difflib.get_close_matches(str(source), REGISTER, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "give a path, hub:OWNER/NAME, or a name of the register"
            raise CheckpointError(f"{source}: no such file, and no published encoder of this name; {hint}")
        return Path(source)
    if str(source).startswith("hub:"):
        repository, file = _split(str(source))
        known = [entry.file for entry in REGISTER.values() if entry.repository == repository]
        if not file and len(known) > 1:
            raise ConfigError(f"{source}: holds several files; give hub:{repository}/FILE: {', '.join(known)}")
        file = file or (known or ["checkpoint_final.pth"])[0]
    else:
        repository, file = REGISTER[str(source)].repository, REGISTER[str(source)].file
        if not repository:
            raise CheckpointError(f"{source}: its authors have released no weights. Give the file that you trained")
    return _download(str(source), repository, file)


def _download(source: str, repository: str, file: str) -> Path:
    url = f"https://huggingface.co/{repository}/resolve/main/{file}"
    try:
        from huggingface_hub import constants, hf_hub_download  # late: an extra
        from huggingface_hub.errors import (  # late: an extra
            EntryNotFoundError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise CheckpointError(
            f"{source}: pip install 'monai-ext[hub]' to download it, or download {url} and give the file"
        ) from error
    try:
        path = Path(hf_hub_download(repository, file))
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(f"{source}: {url} is not there, or asks for a login (HF_TOKEN)") from error
        raise _unreachable(source, repository, file, url, constants.HF_HUB_CACHE) from error
    except Exception as error:  # whatever the network may answer
        raise _unreachable(source, repository, file, url, constants.HF_HUB_CACHE) from error
    logger.info("%s: %s", source, path)
    return path


def _unreachable(source: str, repository: str, file: str, url: str, cache: str) -> CheckpointError:
    folder = f"{cache}/models--{repository.replace('/', '--')}"
    return CheckpointError(
        f"{source}: not in the cache, and the hub cannot be reached. Where there is a network, download {url} and give "
        f"that file, or run `hf download {repository} {file}` and copy the folder of its cache to {folder}"
    )
