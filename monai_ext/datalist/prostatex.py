"""PROSTATEx (TCIA, doi 10.7937/K9TCIA.2017.MURS5CL) under PI-CAI's file names, or as DICOM series."""

from __future__ import annotations

from pathlib import Path

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError

__all__ = ["prostatex"]

MODALITIES = ("t2w", "adc", "hbv")
READERS = ("expert", "ai")


def prostatex(
    root: str,
    out: str,
    masks: str | None = None,
    labels: str = "expert",
    dicom: bool = False,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of PROSTATEx from ROOT/{patient}/{patient}_{t2w,adc,hbv}.mha.

    Masks are {patient}_lesion_{expert,ai}.nii.gz (0 and the ISUP grade: make it binary with > 0),
    {patient}_gland_ai.nii.gz and {patient}_zones_ai.nii.gz (1 = peripheral, 2 = transition) in a folder masks* of the
    patient. A case without the chosen lesion mask goes to the section "unlabelled". PROSTATEx is part of PI-CAI:
    never use one to validate a model of the other.

    Args:
        root: directory with one folder per patient.
        out: datalist to write.
        masks: folder with the masks of all patients, below root, if they are not beside the images.
        labels: source of the labels, ``expert`` or ``ai``.
        dicom: True takes the DICOM series in ROOT/{patient}/dicom/{t2w,adc,hbv} instead.
        num_folds: number of folds by patient, stratified, from a hash.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    if labels not in READERS:
        raise ConfigError(f"--labels is {labels!r}; choose from {', '.join(READERS)}")
    cases = Collection("PROSTATEx", Path(root))
    for folder in sorted(path for path in cases.root.iterdir() if path.is_dir()):
        patient = folder.name
        if dicom:
            images = {key: folder / "dicom" / key for key in MODALITIES}
        else:
            images = {key: folder / f"{patient}_{key}.mha" for key in MODALITIES}
        if not any(path.exists() for path in images.values()):
            continue  # a folder of masks, or of something else
        places = [Path(masks) / patient, Path(masks)] if masks else [*sorted(folder.glob("masks*")), folder]
        names = {"label": f"lesion_{labels}", "gland": "gland_ai", "zones": "zones_ai"}
        found = {key: _find(places, f"{patient}_{name}.nii.gz") for key, name in names.items()}
        cases.add(patient, images, found)
    return cases.write(out, num_folds, skip_incomplete)


def _find(places: list[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).exists()), None)
