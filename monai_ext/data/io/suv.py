"""Standardized uptake values of PET (SUV by body weight)."""

from __future__ import annotations

import math

from monai_ext.errors import DataError

__all__ = ["suv_scale"]

# Patients and doses outside these limits are a wrong unit (grams; MBq, mCi), not a rare case.
WEIGHT_KG = (0.2, 700.0)
DOSE_BQ = (1e5, 1e11)


def suv_scale(
    units: str | None,
    decay_correction: str | None,
    weight: float | None,
    dose: float | None,
    half_life: float | None,
    elapsed: float | None,
) -> float:
    """Factor from the stored activity to the SUV by body weight, in g/ml.

    SUV = activity [Bq/ml] * weight [g] / dose [Bq], with activity and dose at the same time. If the image is corrected
    to its own time, the dose decays to that time: dose * 2^(-elapsed / half_life). If the image is corrected to the
    injection, the full dose counts.

    No argument has a default: each is the value of a DICOM tag, or None if the tag is missing.

    Args:
        units: Units (0054,1001): ``"BQML"``, or ``"GML"`` for an image that is already in SUV and ignores the rest.
            (The caller checks that such an SUV is by body weight and not by lean mass: (0054,1006).)
        decay_correction: Decay Correction (0054,1102): ``"START"`` (to the beginning of the scan), ``"NONE"`` (the
            image is as measured), or ``"ADMIN"`` (to the injection).
        weight: Patient's Weight (0010,1030), kg.
        dose: Radionuclide Total Dose (0018,1074), Bq at injection.
        half_life: Radionuclide Half Life (0018,1075), s.
        elapsed: s from injection to the beginning of the scan for ``"START"``, to the acquisition of the slice for
            ``"NONE"``; not used for ``"ADMIN"``.

    Returns:
        Factor in g/ml per unit of the image; 1 for ``"GML"``.

    Raises:
        DataError: when a value is missing, not finite, negative, of unknown meaning, or plainly in another unit.
    """
    if units == "GML":
        return 1.0
    if units != "BQML":
        raise DataError(
            f"PET units {units!r} cannot be converted to SUV", "Export the series in BQML, or as SUV in GML"
        )
    mass = positive("patient's weight", weight, "kg", *WEIGHT_KG) * 1000.0
    remaining = positive("injected dose", dose, "Bq", *DOSE_BQ)
    if decay_correction in ("START", "NONE"):
        life = positive("radionuclide half-life", half_life, "s")
        if elapsed is None or not math.isfinite(elapsed) or elapsed < 0:
            raise DataError(
                f"the time from injection to scan is {elapsed} s",
                "Check the injection and the series time; an injection before midnight needs its date",
            )
        remaining *= 0.5 ** (elapsed / life)
    elif decay_correction != "ADMIN":
        raise DataError(f"decay correction {decay_correction!r} is not START, NONE or ADMIN", "Check tag (0054,1102)")
    return mass / remaining


def positive(name: str, value: float | None, unit: str, low: float = 0.0, high: float = math.inf) -> float:
    """The value, or a DataError when it is missing, not above zero, or outside ``[low, high]``."""
    if value is None:
        raise DataError(f"the {name} is missing", "SUV cannot be computed without it; it is never assumed")
    if not math.isfinite(value) or value <= 0:
        raise DataError(f"the {name} is {value} {unit}", "It must be a number above zero")
    if not low <= value <= high:
        raise DataError(f"the {name} of {value:g} {unit} is not plausible", f"Is it in {unit}?")
    return float(value)
