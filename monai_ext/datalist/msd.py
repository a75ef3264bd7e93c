"""Medical Segmentation Decathlon (Antonelli et al. 2022, doi 10.1038/s41467-022-30695-9), and sets in its layout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError, DataError

__all__ = ["msd"]


def msd(
    root: str,
    out: str,
    num_testing: int = 0,
    patient: str | None = None,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of one task from its dataset.json; the keys are image and label.

    A file with a fourth axis holds one modality per channel, in the order of dataset.json: a config takes it as a stack
    (StackedModalitiesd). The images of the official test set, whose labels are not public, go to "unlabelled".

    Args:
        root: directory that holds dataset.json.
        out: datalist to write; its field labels names the values.
        num_testing: number of patients with labels to keep for testing, the last in the order of a hash.
        patient: regular expression that finds the patient in the name of a file, as its first group or as a whole
            ("TCGA_.._...." in TCGA_CS_4941_19960909); by default every file is a patient.
        num_folds: number of folds by patient, from a hash; there are no official ones.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    cases = Collection("MSD", Path(root))
    table = cases.root / "dataset.json"
    try:
        content: dict[str, Any] = json.loads(table.read_text(encoding="utf-8"))
        pairs = [(item["image"], item["label"]) for item in content["training"]]
        alone = [item if isinstance(item, str) else item["image"] for item in content.get("test", [])]
        cases.labels = {int(value): str(name) for value, name in content.get("labels", {}).items() if int(value)}
        find = re.compile(patient) if patient else None
    except re.error as error:
        raise ConfigError(f"--patient {patient!r} is no regular expression: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"it cannot be read: {error!r}", 'It must hold "training": [{"image", "label"}, ...].', file=table
        ) from error
    cases.name = str(content.get("name", cases.name))
    for image, label in [*pairs, *((image, None) for image in alone)]:
        case = re.sub(r"\.nii(\.gz)?$", "", Path(image).name)
        match = find.search(case) if find else None
        if find and not match:
            raise ConfigError(f"--patient {patient!r} finds nothing in {case}")
        who = None if match is None else match[match.re.groups and 1]
        mask = None if label is None else cases.root / label
        if mask is not None and not mask.exists():
            cases.fault(case, mask, "there is no such label", "Unpack the archive again.")
        cases.add(case, {"image": cases.root / image}, {"label": mask}, who)
    cases.hold_out(num_testing)
    return cases.write(out, num_folds, skip_incomplete)
