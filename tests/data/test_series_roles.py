"""Which series of an export is which modality, by what scanners call them."""

from pathlib import Path

import pytest

from monai_ext.data.io.dicom_export import DicomSeries
from monai_ext.data.series_roles import RULES, choose_series, may_be


def series(description, modality="MR", plane="axial", images=20, frame="", contrast=False, image_type=()):
    files = tuple(Path(f"{description}{n}") for n in range(images))
    about = {"patient": "p", "study": "s", "date": "", "frame": frame, "contrast": contrast}
    return DicomSeries(
        files, modality=modality, description=description, plane=plane, image_type=frozenset(image_type), **about
    )


KNOWN = [  # as Siemens, GE and Philips call them
    *(
        (text, "MR", {"t2w", "t2"})
        for text in ("t2_tse_tra", "Ax T2 FSE", "T2W_TSE_ax", "T2 AX SMALL FOV", "t2_spc_3d")
    ),
    *((text, "MR", {"adc"}) for text in ("ep2d_diff_tra_ADC", "ADC (10^-6 mm2/s)", "Apparent Diffusion Coefficient")),
    *((text, "MR", {"hbv"}) for text in ("ep2d_diff_b1400", "DWI b=800", "CALC_BVAL", "diff_b 2000", "ep2d_TRACEW")),
    *((text, "MR", {"flair"}) for text in ("t2_tirm_tra_dark-fluid", "Ax FLAIR", "3D_Brain_VIEW_FLAIR")),
    *((text, "MR", {"t1"}) for text in ("t1_mprage_sag", "Ax T1 SE", "FSPGR BRAVO")),
    *((text, "MR", {"t1ce"}) for text in ("t1_mprage_post", "Ax T1 +C", "T1 GD tra", "t1_vibe_km")),
    *((text, "PT", {"pet"}) for text in ("PET WB AC", "Body_CTAC", "")),
    *((text, "CT", {"ct"}) for text in ("CT WB 5.0 B30f", "CTAC", "LDCT")),
    *((text, "PT", set()) for text in ("PET WB NAC", "PET uncorrected", "no AC")),
    *((text, "CT", set()) for text in ("Topogram 0.6 T20f", "Scout", "Localizer")),
    *((text, "MR", set()) for text in ("localizer", "diff_b50", "ep2d_diff_b0", "dce_dynamic", "eADC")),
    ("Patient Protocol", "SR", set()),
]


@pytest.mark.parametrize(("description", "modality", "keys"), KNOWN)
def test_known_names(description, modality, keys):
    found = {key for key in RULES if key != "image" and may_be(series(description, modality), key, {})}
    assert found == keys


def test_a_plane_a_contrast_agent_and_a_kind_of_image():
    assert not may_be(series("t2_tse_sag", plane="sagittal"), "t2w", {})
    assert may_be(series("3D FLAIR", plane="sagittal"), "flair", {})
    assert may_be(series("t1_mprage", contrast=True), "t1ce", {})
    assert not may_be(series("t1_mprage", contrast=True), "t1", {})
    assert may_be(series("ep2d_diff", image_type=["DERIVED", "ADC"]), "adc", {})
    assert not may_be(series("CT", "CT", image_type=["ORIGINAL", "LOCALIZER"]), "ct", {})


def test_few_images_and_what_lies_nowhere_are_no_scan():
    assert not may_be(series("Ax T2", images=2), "t2w", {})
    assert not may_be(series("Ax T2", plane=""), "t2w", {})
    assert not may_be(series("Ax T2", plane=""), "t2w", {"t2w": "ax"})


def test_words_of_the_user_replace_the_rule():
    assert may_be(series("SAG whatever", plane="sagittal"), "t2w", {"t2w": "WHAT"})
    assert not may_be(series("t2_tse_tra"), "t2w", {"t2w": "what"})


def test_of_several_the_one_in_the_space_of_the_others():
    pet, own, other = series("PET", "PT", frame="1"), series("CT", "CT", frame="1"), series("CT2", "CT", frame="2")
    assert choose_series({"pet": [pet], "ct": [own, other]}) == {"pet": [pet], "ct": [own]}
    assert choose_series({"pet": [pet], "ct": [other, other]})["ct"] == [other, other]
    assert choose_series({"pet": [], "ct": [own, other]})["ct"] == [own, other]
    assert choose_series({"pet": [pet], "ct": [other]})["ct"] == [other]  # nothing to choose
