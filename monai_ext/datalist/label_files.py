"""Make label files from others: join masks of single structures into one label, or number values without gaps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError, DataError

__all__ = ["combine_masks", "label_folder", "names_in", "renumber", "values_in"]

_LABEL = re.compile(r'<Label Key="(\d+)".*?<!\[CDATA\[(.*?)\]\]>', re.DOTALL)
_REMEDY = "It is truncated, damaged or no image: copy it again."


def label_folder(folder: str | None, root: Path, name: str) -> Path:
    """Folder of the label files: ``folder``, or ``name`` in the data set; it must lie below the datalist's root."""
    path = Path(os.path.abspath(os.path.expanduser(folder))) if folder else root / name
    if not path.is_relative_to(root):
        raise ConfigError(f"--labels {path} is not below --root {root}: the datalist's paths are relative to the root")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder of labels {path}: {error}. Give another with --labels") from error
    return path


def combine_masks(masks: Sequence[Path], out: Path) -> None:
    """Write one uint8 label: the voxels above zero of ``masks[i]`` become i + 1, and later masks cover earlier ones.

    The file is written atomically; an existing file that is not older than its masks is kept.

    Raises:
        DataError: a mask cannot be read or lies on another grid than the first; the error names the file.
    """
    if len(masks) > 255:
        raise ConfigError(f"{len(masks)} structures do not fit a label of 255 values")
    if out.exists() and out.stat().st_mtime >= max(path.stat().st_mtime for path in masks):
        return
    label: NDArray[np.uint8] | None = None
    first: Any = None
    for number, path in enumerate(masks, start=1):
        image, values = _read(path)
        if label is None:
            label, first = np.zeros(values.shape, np.uint8), image
        elif values.shape != label.shape or not np.allclose(image.affine, first.affine, atol=1e-3):
            raise DataError(f"it lies on another grid than {masks[0].name}", "Export the masks again.", file=path)
        label[values > 0] = number
    if label is None:
        raise ConfigError("there is no structure to combine")
    _write(label, first, out)


def renumber(label: Path, numbers: Mapping[int, int], out: Path) -> None:
    """Write a uint8 label whose values are ``numbers[value]``; background stays 0.

    Raises:
        DataError: the label cannot be read, or holds a value without a number.
    """
    image, values = _read(label)
    found, where = np.unique(np.rint(values).astype(np.int64), return_inverse=True)
    if unknown := [int(value) for value in found if value and int(value) not in numbers]:
        raise DataError(f"it holds the values {unknown[:8]}, which have no number", "Name them.", file=label)
    table = np.array([numbers.get(int(value), 0) for value in found], np.uint8)
    _write(table[where].reshape(values.shape), image, out)


def values_in(label: Path) -> set[int]:
    """Values of a label except 0.

    Raises:
        DataError: the label cannot be read, or holds values that are not whole numbers.
    """
    _, values = _read(label)
    found = np.unique(values)
    if not np.array_equal(found, np.rint(found)) or found[0] < 0:
        raise DataError("it holds values that are not whole numbers from 0 on", "Is it a label?", file=label)
    return {int(value) for value in found} - {0}


def names_in(label: Path) -> dict[int, str]:
    """Names of label values in an extension of a NIfTI, as TotalSegmentator writes them; empty if there are none."""
    try:
        extensions: Iterable[Any] = nib.load(label).header.extensions  # type: ignore[attr-defined]
        text = " ".join(e.get_content().decode(errors="replace") for e in extensions if e.get_code() == 0)
    except Exception:  # a file that cannot be read is reported by the check of the datalist
        return {}
    return {int(value): name for value, name in _LABEL.findall(text)}


def _read(path: Path) -> tuple[Any, NDArray[Any]]:
    try:
        image: Any = nib.load(path)
        return image, np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel raises anything from EOFError to ImageFileError
        reason = str(error).strip().split("\n")[-1][:160] or type(error).__name__
        raise DataError(f"it cannot be read ({reason})", _REMEDY, file=path) from error


def _write(label: NDArray[np.uint8], like: Any, out: Path) -> None:
    image = nib.Nifti1Image(label, like.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(like.affine, code=1)
    image.set_qform(like.affine, code=1)
    try:
        with whole_file(out) as temporary:
            nib.save(image, temporary)
    except OSError as error:
        raise ConfigError(f"cannot write the label {out}: {error}. Give another folder with --labels") from error
