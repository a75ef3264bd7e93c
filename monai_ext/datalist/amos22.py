"""AMOS22 (Ji et al. 2022, arXiv 2206.08023): abdominal CT and MR with 15 organs."""

from __future__ import annotations

import re
from pathlib import Path

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError

__all__ = ["ORGANS", "amos22"]

ORGANS = ["spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta"]
ORGANS += ["inferior_vena_cava", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum"]
ORGANS += ["urinary_bladder", "prostate_or_uterus"]
FIRST_MR = 500  # cases from this number on are MR, smaller ones are CT
_CASE = re.compile(r"amos_(\d+)\.nii\.gz")


def amos22(root: str, out: str, modality: str = "all", skip_incomplete: bool = False) -> str:
    """Write the datalist of AMOS22: imagesTr is fold 1, imagesVa fold 0, imagesTs the section "testing".

    Below ROOT lie images{Tr,Va,Ts}/amos_0001.nii.gz and labels{Tr,Va,Ts}/amos_0001.nii.gz; the labels of the test set
    may be missing. The field modality of each case is ct or mr.

    Args:
        root: directory that holds the folders, or a folder that holds that directory.
        out: datalist to write; its field labels names the values.
        modality: modality of the cases: ct, mr or all.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    if modality not in ("all", "ct", "mr"):
        raise ConfigError(f"--modality is {modality!r}; choose from all, ct, mr")
    cases = Collection("AMOS22", Path(root))
    cases.labels = dict(enumerate(ORGANS, start=1))
    for part, about in (("Tr", {"fold": 1}), ("Va", {"fold": 0}), ("Ts", {})):
        for image in sorted(path for path in cases.root.rglob("amos_*.nii.gz") if path.parent.name == f"images{part}"):
            if not (match := _CASE.fullmatch(image.name)):
                continue
            kind = "mr" if int(match[1]) >= FIRST_MR else "ct"
            if modality not in ("all", kind):
                continue
            case, label = f"amos_{match[1]}", image.parent.parent / f"labels{part}" / image.name
            if part != "Ts" and not label.exists():
                cases.fault(case, label, "there is no such label", "Unpack the labels beside the images.")
            fields = {"modality": kind, **about}
            cases.add(case, {"image": image}, {"label": label}, None, label.exists(), part == "Ts", **fields)
    return cases.write(out, skip_incomplete=skip_incomplete)
