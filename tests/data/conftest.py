import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


class DataSet:
    """Two training cases and a test case of small images, and their datalist, for a test to damage."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / "datalist.json"
        self.content = {"training": [], "testing": []}
        for case, section, fold in (("a", "training", 0), ("b", "training", 1), ("c", "testing", None)):
            item = {"id": case, "center": "X"} | ({} if fold is None else {"fold": fold})
            for key, shape, size in (("t2w", (12, 10, 4), 1.0), ("adc", (6, 5, 4), 2.0), ("label", (12, 10, 4), 1.0)):
                item[key] = f"{case}_{key}.nii.gz"
                self.write(item[key], np.full(shape, 1 if key == "label" else ord(case)), np.diag([size, size, 3, 1]))
            self.content[section].append(item)
        self.save()

    def write(self, name: str, array: np.ndarray, affine: np.ndarray) -> None:
        nib.save(nib.Nifti1Image(array.astype(np.int16), affine), self.root / name)

    def save(self) -> None:
        self.path.write_text(json.dumps(self.content))


@pytest.fixture
def dataset(tmp_path):
    return DataSet(tmp_path)
