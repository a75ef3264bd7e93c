"""Your own scans: images and labels whose names follow a pattern."""

from __future__ import annotations

import re
from pathlib import Path

from monai_ext.datalist.label_files import label_folder, names_in, renumber, values_in
from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError, DataError

__all__ = ["pairs"]


def pairs(
    root: str,
    out: str,
    image: str = "{case}_0000.nii.gz",
    label: str = "{case}.nii.gz",
    key: str = "image",
    compact: bool = False,
    labels: str | None = None,
    num_testing: int = 0,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write a datalist of images and labels below ROOT that are named by patterns with {case} and {patient}.

    For example --image "ct/{patient}_{case}.nii.gz" --label "seg/{patient}_{case}.nii.gz", or, for a scan and the many
    classes of TotalSegmentator's --ml beside it, --image "{case}_ct.nii.gz" --label "{case}_seg.nii.gz" --compact.
    An image without a label goes to the section "unlabelled".

    Args:
        root: directory that the patterns are relative to.
        out: datalist to write; its field labels names the values if the label files do.
        image: pattern of the images.
        label: pattern of the labels; neither placeholder matches a slash.
        key: key of the image in the datalist.
        compact: True renumbers the occurring label values to 1, 2, ... in new label files, because a network has one
            output per value: 61 structures numbered up to 117 would need 118.
        labels: folder for the new labels, below ROOT; by default ROOT/labels_compact.
        num_testing: number of patients with labels to keep for testing, the last in the order of a hash.
        num_folds: number of folds by patient, from a hash.
        skip_incomplete: True leaves out cases with unreadable files instead of stopping.
    """
    if "{case}" not in image:
        raise ConfigError(f"--image {image!r} has no {{case}}")
    cases = Collection("pairs", Path(root))
    parts = re.split(r"(\{case\}|\{patient\})", image)
    seen: set[str] = set()
    text = ""
    for part in parts:
        group = part.strip("{}") if part in ("{case}", "{patient}") else ""
        text += re.escape(part) if not group else f"(?P={group})" if group in seen else f"(?P<{group}>[^/]+?)"
        seen |= {group}
    pattern = re.compile(text)
    found: list[tuple[str, str | None, Path, Path]] = []
    for path in sorted(cases.root.glob(re.sub(r"\{\w+\}", "*", image))):
        if match := pattern.fullmatch(path.relative_to(cases.root).as_posix()):
            fields = match.groupdict()
            name = label.replace("{case}", fields["case"]).replace("{patient}", fields.get("patient", "{patient}"))
            case = "_".join(fields[group] for group in ("patient", "case") if group in fields)
            found.append((case, fields.get("patient"), path, cases.root / name))
    masks = {case: mask for case, _, _, mask in found if mask.exists()}
    for mask in masks.values():
        cases.labels |= {value: name for value, name in names_in(mask).items() if value not in cases.labels}
    if compact:
        masks = _compact(cases, masks, label_folder(labels, cases.root, "labels_compact"))
    for case, patient, path, _ in found:
        cases.add(case, {key: path}, {"label": masks.get(case)}, patient)
    cases.hold_out(num_testing)
    return cases.write(out, num_folds, skip_incomplete)


def _compact(cases: Collection, masks: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The labels numbered without gaps, in ``folder``, and their names in ``cases.labels``."""
    values: dict[str, set[int]] = {}
    for case, mask in masks.items():
        try:
            values[case] = values_in(mask)
        except DataError as error:
            cases.fault(case, error.file, error.cause, error.remedy)
    present = sorted(set().union(*values.values()))
    if len(present) > 255:
        raise ConfigError(f"the labels hold {len(present)} values; at most 255 can be told apart")
    numbers = {value: number for number, value in enumerate(present, start=1)}
    for case in values:
        renumber(masks[case], numbers, folder / f"{case}.nii.gz")
    cases.labels = {number: cases.labels.get(value, str(value)) for value, number in numbers.items()}
    return {case: folder / f"{case}.nii.gz" if case in values else mask for case, mask in masks.items()}
