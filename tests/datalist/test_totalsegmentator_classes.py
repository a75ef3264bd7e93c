"""The official numbers of TotalSegmentator's structures."""

from monai_ext.datalist.label_files import names_in
from monai_ext.datalist.totalsegmentator_classes import CLASSES_V1, CLASSES_V2


def test_totalsegmentator_classes():
    assert (len(CLASSES_V1), len(set(CLASSES_V1))) == (104, 104)
    assert (len(CLASSES_V2), len(set(CLASSES_V2))) == (117, 117)
    # A few official numbers from the beginning, the middle and the end.
    assert [CLASSES_V1[n - 1] for n in (7, 44, 58, 93, 104)] == [
        *("aorta", "heart_myocardium", "rib_left_1", "face", "urinary_bladder")
    ]


def test_totalsegmentator_classes_are_those_in_its_files(real_data):
    assert names_in(real_data("ct_multiorgan") / "example_seg.nii.gz") == dict(enumerate(CLASSES_V2, start=1))
