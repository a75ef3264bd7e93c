"""Inference over many studies by several independent processes, with resume."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.entries import case_of

__all__ = ["is_whole", "unfinished_studies"]

logger = logging.getLogger(__name__)


def is_whole(path: Path) -> bool:
    """Whether a .nii.gz exists and is complete; a file that a killed process left behind fails its checksum."""
    size = 0
    try:
        with gzip.open(path) as file:
            while part := file.read(1 << 22):
                size += len(part)
    except (OSError, EOFError, zlib.error):
        return False
    return size > 0


def unfinished_studies(
    items: Sequence[Mapping[str, Any]], output_dir: str | Path, preprocessing: Any = None, postfix: str = "seg"
) -> list[dict[str, Any]]:
    """Studies that this process still has to segment: every N-th under torchrun with N processes, else all.

    A study is finished when ``<output_dir>/<id>/<id>_<postfix>.nii.gz`` is complete. The share of a process depends
    on the list alone, so a run that is repeated with the same number of processes continues where it stopped.

    Args:
        items: items of the datalist.
        output_dir: folder in which the run writes its results.
        preprocessing: transform whose method ``resolve`` names items without an ``id``.
        postfix: postfix of the file that is written last for a study.

    Raises:
        DataError: the files of an item cannot be found.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    mine, left = [dict(item) for item in items[rank::size]], []
    for item in mine:
        if "id" not in item:
            item["id"] = preprocessing.resolve(item)["id"] if hasattr(preprocessing, "resolve") else case_of(item)
        if not is_whole(Path(output_dir) / item["id"] / f"{item['id']}_{postfix}.nii.gz"):
            left.append(item)
    logger.info("process %d of %d: %d of its %d studies are left", rank, size, len(left), len(mine))
    return left
