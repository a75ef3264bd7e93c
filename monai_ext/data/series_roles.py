"""Which modality of a bundle a DICOM series is, by its modality and description."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_ext.data.io.dicom_export import DicomSeries

__all__ = ["choose_series", "may_be"]

HIGH_B = r"(?<![a-z0-9])b[ =_-]?(?:[89]\d\d|[1-9]\d{3})(?!\d)|b_?val|hbv|high[ _-]?b|tracew"
T1, T2 = r"t1|mprage|spgr|bravo|vibe", r"t2(?!\*|[ _-]?star)"
CONTRAST = r"(?<![a-z])(?:gd|ce|km|post|contrast)(?![a-z])|\+ ?c"
DARK_FLUID = r"flair|dark[ _-]?fluid"
SCOUT = r"scout|topogram|locali[sz]er|surview|survey"
AT_LEAST = 3  # slices of a scan


@dataclass(frozen=True)
class Rule:
    """What a series of a modality is like: its kind, a pattern of its description, and one that excludes it."""

    kinds: tuple[str, ...]
    named: str = ""
    unless: str = SCOUT
    axial: bool = False
    contrast: bool | None = None

    def fits(self, series: DicomSeries) -> bool:
        """Whether a series is so."""
        words = " ".join([series.description, *sorted(series.image_type)]).lower()
        contrast = series.contrast or bool(re.search(CONTRAST, series.description.lower()))
        return (
            series.modality in self.kinds
            and bool(re.search(self.named, words))
            and not re.search(f"{SCOUT}|{self.unless}", words)
            and (not self.axial or series.plane == "axial")
            and (self.contrast is None or self.contrast == contrast)
        )


ADC = r"adc|apparent"
RULES: Mapping[str, Rule] = {
    "t2w": Rule(("MR",), T2, rf"{DARK_FLUID}|tirm|stir|map|diff|dwi|{ADC}", axial=True),
    "adc": Rule(("MR",), ADC, r"eadc|exp", axial=True),
    "hbv": Rule(("MR",), HIGH_B, ADC, axial=True),
    "pet": Rule(("PT",), unless=r"(?<![a-z])nac(?![a-z])|uncorrected|no[nt]?[ _-]?(?:ac|att)"),
    "ct": Rule(("CT",)),
    "flair": Rule(("MR",), DARK_FLUID),
    "t1": Rule(("MR",), T1, DARK_FLUID, contrast=False),
    "t1ce": Rule(("MR",), T1, DARK_FLUID, contrast=True),
    "t2": Rule(("MR",), T2, rf"{DARK_FLUID}|map|diff|dwi|{ADC}"),
    "image": Rule(("CT", "MR", "PT")),
}


def may_be(series: DicomSeries, key: str, words: Mapping[str, str]) -> bool:
    """Whether a series can be the modality ``key``.

    Args:
        series: of an export.
        key: of the modality, such as ``t2w``.
        words: by modality: what the description of its series holds, in place of the rule that is known.

    Example:
        >>> from pathlib import Path
        >>> from monai_ext.data.io.dicom_export import DicomSeries
        >>> from monai_ext.data.series_roles import may_be
        >>> about = dict(patient="", study="", date="", image_type=frozenset(), frame="", contrast=False)
        >>> series = DicomSeries((Path("1"),) * 9, modality="MR", description="t2_tra", plane="axial", **about)
        >>> may_be(series, "t2w", {}), may_be(series, "adc", {}), may_be(series, "adc", {"adc": "T2_TRA"})
        (True, False, True)
    """
    if not series.plane or len(series.files) < AT_LEAST:
        return False
    if key in words:
        return words[key].lower() in series.description.lower()
    return key in RULES and RULES[key].fits(series)


def choose_series(found: Mapping[str, Sequence[DicomSeries]]) -> dict[str, list[DicomSeries]]:
    """Of several series of a modality, those in the space of a modality that has one series.

    Args:
        found: series of one study by modality.

    Returns:
        The same with fewer series; of a modality that still has several nobody can tell which one is meant.
    """
    frames = {series[0].frame for series in found.values() if len(series) == 1} - {""}
    kept = {key: [one for one in series if one.frame in frames] for key, series in found.items()}
    return {key: kept[key] if len(series) > 1 and kept[key] else list(series) for key, series in found.items()}
