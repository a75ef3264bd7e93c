"""Read a DICOM series of PET in SUV, by the tags of its own headers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_ext.data.io.suv import suv_scale
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import ConfigError, DataError

__all__ = ["read_pet_series", "series_scales"]

INSTALLED = bool(find_spec("pydicom"))  # imported on use; ITK passes on no nested tags, such as the dose

PHILIPS_SUV = (0x7053, 0x1000)  # factor from counts to SUV by body weight
LONGEST = 24 * 3600.0  # longest time from injection to scan in s; beyond it the dates are wrong


def read_pet_series(folder: str | Path, case: object = None) -> MetaTensor:
    """SUV by body weight, float32 ``[1, X, Y, Z]``, of a directory with one DICOM series of PET.

    Every slice has its own scale, and ITK rounds the slices to the type of the first one. Therefore the voxels are read
    again here; the geometry is that of :func:`monai_ext.data.io.volume.read_volume`.

    Raises:
        DataError: there is no series or several, the stack is uneven, the series is not PET, a file has several frames,
            or a tag that SUV needs is missing or implausible. The error names the tag.
        ConfigError: pydicom is not installed.
    """
    if not INSTALLED:
        raise ConfigError("SUV from DICOM needs pydicom: pip install pydicom, or convert the series to NIfTI in SUV")
    folder = Path(folder)
    image = read_volume(folder, case)
    slices = _read_slices(folder, case, len(image[0, 0, 0]))
    try:
        scales = series_scales(slices)
    except DataError as error:
        raise DataError(error.cause, error.remedy, case, folder) from error
    affine = image.affine.numpy()
    values = np.empty(image.shape[1:], np.float64)
    for dataset, scale in zip(slices, scales):
        position = np.array(dataset.ImagePositionPatient, float) * (-1, -1, 1)  # DICOM counts to the left and back
        index = np.rint(np.linalg.solve(affine[:3, :3], position - affine[:3, 3])).astype(int)
        stored = _pixels(dataset, case, folder)
        values[:, :, index[2]] = scale * (stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)).T
    return MetaTensor(image.as_tensor().new_tensor(values[None]), affine=image.affine, meta=dict(image.meta))


def series_scales(slices: Sequence[Any]) -> NDArray[np.float64]:
    """Factor from the rescaled values of each slice to SUV by body weight (pydicom data sets).

    Decay Correction (0054,1102) names the time to which the image is corrected: START, the beginning of the scan;
    ADMIN, the injection; NONE, the acquisition of each slice. The scan begins at Series Time, or at the first
    Acquisition Time when the series was derived later from another one.

    Raises:
        DataError: a tag is missing or implausible.
    """
    first = slices[0]
    for keyword in ("Units", "DecayCorrection"):
        if len({str(dataset.get(keyword)) for dataset in slices}) > 1:
            raise DataError(f"the slices differ in {keyword}", "Export one series.")
    units = _text(first, "Units")
    kind = _text(first, "SUVType")
    if units == "GML" and kind not in (None, "BW"):
        raise DataError(
            f"the SUV is by {kind}, not by body weight (BW)", "Export the series in BQML; see tag (0054,1006)"
        )
    if units == "CNTS" and first.get(PHILIPS_SUV) is not None:
        return np.array([_philips(dataset) for dataset in slices])
    if units == "GML":
        return np.ones(len(slices))
    correction = _text(first, "DecayCorrection")
    if "ATTN" not in (first.get("CorrectedImage") or ()):
        warnings.warn("the PET does not say that it is corrected for attenuation: (0028,0051)", stacklevel=2)
    doses = first.get("RadiopharmaceuticalInformationSequence") or []
    if len(doses) != 1:
        cause = f"Radiopharmaceutical Information (0054,0016) has {len(doses)} items, but one is expected"
        raise DataError(cause, "Anonymizers remove it: export the series again, or convert it to NIfTI in SUV")
    common = (units, correction, _number(first, "PatientWeight"), _number(doses[0], "RadionuclideTotalDose"))
    half_life = _number(doses[0], "RadionuclideHalfLife")
    if correction == "ADMIN":
        elapsed: list[float | None] = [None] * len(slices)
    else:
        moments = [_moment(dataset, "Acquisition") for dataset in slices]
        scan = _moment(first, "Series")
        known = [moment for moment in moments if moment]
        start = min([scan, *known]) if scan else min(known, default=None)
        if scan and known and scan > min(known):
            warnings.warn("the series is newer than its acquisition: the scan begins at the latter", stacklevel=2)
        injection = _injection(doses[0], start)
        ends = moments if correction == "NONE" else [start] * len(slices)
        elapsed = [(end - injection).total_seconds() if end and injection else None for end in ends]
        longest = max((time for time in elapsed if time is not None), default=0.0)
        if longest > LONGEST:
            cause = f"the injection is {longest / 3600:.0f} h before the scan"
            raise DataError(cause, "Anonymizers shift dates: check the dates of injection and series")
    return np.array([suv_scale(*common, half_life, time) for time in elapsed])


def _read_slices(folder: Path, case: object, count: int) -> list[Any]:
    """Data sets of the images of the series, one per slice."""
    import pydicom  # late: an optional package

    slices = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and pydicom.misc.is_dicom(path):
            dataset = pydicom.dcmread(path)
            if "PixelData" in dataset:
                slices.append(dataset)
    kinds = {str(dataset.get("Modality")) for dataset in slices}
    if kinds != {"PT"}:
        raise DataError(f"the series is {', '.join(sorted(kinds))}, not PET (PT)", "Give the PET as pet.", case, folder)
    needed = ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept")
    if lacking := [keyword for keyword in needed if any(keyword not in dataset for dataset in slices)]:
        cause = f"slices have no {', '.join(lacking)}"
        raise DataError(cause, "Multi-frame files are not read: export single slices.", case, folder)
    if len(slices) != count:
        cause = f"the series has {len(slices)} files for {count} slices"
        raise DataError(cause, "Put one frame per slice into a directory of its own.", case, folder)
    return slices


def _pixels(dataset: Any, case: object, folder: Path) -> NDArray[np.float64]:
    try:
        return np.asarray(dataset.pixel_array, np.float64)
    except Exception as error:  # pydicom raises anything from AttributeError to RuntimeError
        remedy = "Export it uncompressed, or install pylibjpeg with its plug-ins."
        raise DataError(f"the pixels cannot be decoded ({error})", remedy, case, dataset.filename or folder) from error


def _philips(dataset: Any) -> float:
    factor = dataset.get(PHILIPS_SUV)
    value = float(factor.value) if factor is not None else 0.0
    if not value > 0:
        raise DataError("the SUV scale factor (7053,1000) is 0", "Export the series in BQML, or as SUV in GML")
    return value


def _text(dataset: Any, keyword: str) -> str | None:
    value = str(dataset.get(keyword) or "").strip()
    return value or None


def _number(dataset: Any, keyword: str) -> float | None:
    value = dataset.get(keyword)
    return None if value is None or value == "" else float(value)


def _moment(dataset: Any, what: str) -> datetime | None:
    """Date and time of the series or the acquisition; a missing date is taken from the study or the series."""
    date = next((d for d in (_text(dataset, f"{w}Date") for w in (what, "Series", "Study")) if d), None)
    return _parse(date, _text(dataset, f"{what}Time"))


def _injection(dose: Any, scan: datetime | None) -> datetime | None:
    """Start of the injection: its date and time, or its time on the day of the scan."""
    whole = _text(dose, "RadiopharmaceuticalStartDateTime")
    if whole and len(whole) >= 12:
        return _parse(whole[:8], whole[8:].split("+")[0].split("-")[0])
    return _parse(scan.strftime("%Y%m%d") if scan else None, _text(dose, "RadiopharmaceuticalStartTime"))


def _parse(date: str | None, time: str | None) -> datetime | None:
    """``YYYYMMDD`` and ``HHMMSS.ffffff`` (minutes, seconds and fractions may be missing), or None."""
    if not date or not time:
        return None
    clock, _, fraction = time.partition(".")
    try:
        moment = datetime.strptime(date + clock.ljust(6, "0"), "%Y%m%d%H%M%S")
        return moment + timedelta(seconds=float(f"0.{fraction or 0}"))
    except ValueError as error:
        raise DataError(f"{date} {time} is no date and time", "Check the dates and times of the series") from error
