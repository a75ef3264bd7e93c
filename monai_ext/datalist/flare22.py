"""FLARE22 (Ma et al. 2024): abdominal CT, 50 cases with 13 organs and 2000 without labels."""

from __future__ import annotations

from pathlib import Path

from monai_ext.datalist.writer import Collection

__all__ = ["ORGANS", "flare22"]

ORGANS = ["liver", "kidney_right", "spleen", "pancreas", "aorta", "inferior_vena_cava", "adrenal_gland_right"]
ORGANS += ["adrenal_gland_left", "gallbladder", "esophagus", "stomach", "duodenum", "kidney_left"]
_TESTING = ("flarets", "flare22_ts", "flare22_va")


def flare22(root: str, out: str, num_folds: int = 5, skip_incomplete: bool = False) -> str:
    """Write the datalist of FLARE22 from the images {case}_0000.nii.gz anywhere below ROOT.

    Training: images/FLARE22_Tr_0001_0000.nii.gz and labels/FLARE22_Tr_0001.nii.gz (or imagesTr and labelsTr).
    Tuning set: FLARETs_0001_0000.nii.gz is the section "testing", with its label where that is there. All other images
    (Case_00001_0000.nii.gz) are the section "unlabelled".

    Args:
        root: directory of the unpacked archives.
        out: datalist to write; its field labels names the values.
        num_folds: number of folds by case, from a hash; there are no official ones.
        skip_incomplete: True leaves out cases with unreadable files instead of stopping.
    """
    cases = Collection("FLARE22", Path(root))
    cases.labels = dict(enumerate(ORGANS, start=1))
    files = sorted(cases.root.rglob("*.nii.gz"))
    labels = {path.name: path for path in files if not path.name.endswith("_0000.nii.gz")}
    for image in (path for path in files if path.name.endswith("_0000.nii.gz")):
        case = image.name.removesuffix("_0000.nii.gz")
        label = labels.get(f"{case}.nii.gz")
        if label is None and case.lower().startswith("flare22_tr"):
            cases.fault(case, image, f"there is no label {case}.nii.gz", "Unpack the labels below --root, too.")
        testing = case.lower().startswith(_TESTING)
        cases.add(case, {"image": image}, {"label": label}, None, label is not None, testing)
    return cases.write(out, num_folds, skip_incomplete)
