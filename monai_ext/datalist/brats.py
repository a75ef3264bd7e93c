"""BraTS (Menze et al. 2015; Bakas et al. 2018): the glioma sets of 2018 to 2024."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError

__all__ = ["brats"]

# Names of the images until 2021, and since.
SUFFIXES = {
    "_": {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "label": "seg"},
    "-": {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "label": "seg"},
}
GRADES = ("HGG", "LGG")
_TIME_POINT = re.compile(r"(Brats1\d_.+)_\d+|(BraTS-\w+-\d+)-\d+")


def brats(
    root: str,
    out: str,
    grade: str = "all",
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of BraTS from any folder below ROOT that holds the four images of its name.

    2018: {HGG,LGG}/{case}/{case}_{t1,t1ce,t2,flair,seg}.nii.gz. 2019 to 2021: {case}_{...}, also as .nii. Since 2023:
    {case}/{case}-{t1n,t1c,t2w,t2f,seg}.nii.gz. The keys are always t1, t1ce, t2, flair and label. Masks hold 1 necrosis
    (and non-enhancing tumor), 2 edema, and enhancing tumor: 4 until 2021, 3 since; 2024 adds 4, the resection cavity.
    A case without a mask goes to the section "unlabelled".

    Args:
        root: directory of the unpacked archive, or of several.
        out: datalist to write.
        grade: HGG or LGG takes only the cases in a folder of that name; AMLP uses the 210 HGG cases of 2018.
        num_folds: number of folds by patient, from a hash; there are no official ones.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    if grade not in ("all", *GRADES):
        raise ConfigError(f"--grade is {grade!r}; choose from all, {', '.join(GRADES)}")
    cases = Collection("BraTS", Path(root))
    for folder in sorted(path for path in cases.root.rglob("*") if path.is_dir()):
        case = folder.name
        found = next((mark for mark, names in SUFFIXES.items() if _any_image(folder, mark, names)), None)
        if found is None:
            continue
        where = next((part for part in folder.relative_to(cases.root).parts if part in GRADES), None)
        if grade not in ("all", where):
            continue
        paths = {key: _find(folder, f"{case}{found}{name}") for key, name in SUFFIXES[found].items()}
        match = _TIME_POINT.fullmatch(case)
        about: dict[str, Any] = {"grade": where} if where else {}
        cases.add(
            case,
            {key: path for key, path in paths.items() if key != "label"},
            {"label": paths["label"]},
            patient=(match[1] or match[2]) if match else case,
            positive=paths["label"].exists(),  # every case of BraTS is a glioma
            **about,
        )
    return cases.write(out, num_folds, skip_incomplete)


def _any_image(folder: Path, mark: str, names: dict[str, str]) -> bool:
    return any(_find(folder, f"{folder.name}{mark}{names[key]}").exists() for key in ("t1", "t1ce", "t2", "flair"))


def _find(folder: Path, name: str) -> Path:
    """The file as .nii.gz, or as .nii if it exists so."""
    plain = folder / f"{name}.nii"
    return plain if plain.exists() else folder / f"{name}.nii.gz"
