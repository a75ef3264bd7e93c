"""The chosen scans in a folder that an annotation server goes through in their order."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.entries import Item, case_of, files_of
from monai_ext.errors import ConfigError, DataError

__all__ = ["link_studies"]


def link_studies(
    folder: str | Path, chosen: Sequence[str], scans: Mapping[str, list[Item]], preprocessing: Any = None
) -> list[Path]:
    """Link the first image of each chosen scan under a name that begins with the patient's rank: ``001_p7_t2w.nii.gz``.

    MONAI Label's stock app has the strategies *random* and *first*; *first* takes the image without label whose name
    comes first. Its data store reads a link's target, so the other modalities lie beside that. Numbered links of an
    earlier choice are removed; nothing else in the folder is touched.

    Args:
        folder: of the studies.
        chosen: patients in the order of the choice.
        scans: items of each patient, with absolute paths.
        preprocessing: of the bundle; its ``resolve`` finds the other modalities.

    Returns:
        The links.

    Raises:
        ConfigError: an image is a folder, other modalities of it do not lie beside it, or a link cannot be made.
    """
    links: dict[Path, Path] = {}
    for rank, patient in enumerate(chosen, 1):
        for item in scans[patient]:
            case, file = case_of(item), _first(item, preprocessing)
            if not file.is_file():
                raise ConfigError(f"--studies links files, and {file} of case {case} is a folder: convert it to NIfTI")
            name = file.name if case in file.name else f"{case}_{file.name}"
            links[Path(folder) / f"{rank:03d}_{name}"] = file
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path in Path(folder).glob("[0-9][0-9][0-9]_*"):
            if path.is_symlink():
                path.unlink()
        for link, file in links.items():
            link.symlink_to(file)
    except OSError as error:
        raise ConfigError(f"cannot write --studies {folder}: {error}") from error
    return list(links)


def _first(item: Item, preprocessing: Any) -> Path:
    """The image whose siblings a bundle finds by its name."""
    if not hasattr(preprocessing, "resolve"):
        return Path(next(iter(files_of(item).values()))[0])
    key = next((key for key in (preprocessing.naming.first, "image") if item.get(key) is not None), None)
    if key is None:
        raise ConfigError(f"case {item.get('id')} names no {preprocessing.naming.first}, whose siblings are found")
    with contextlib.suppress(DataError):
        preprocessing.resolve({"id": item.get("id"), key: item[key]})
        return Path(item[key])
    raise ConfigError(f"the modalities of case {item.get('id')} do not lie beside {item[key]} with matching names")
