import numpy as np
import pytest

from monai_ext.plan.case_facts import measure_case

SPACING = (2.0, 1.0, 3.0)


def case():
    """Two boxes of class 1 and one of class 2, in an image of 100 and ten for each class; the last slice is air."""
    label = np.zeros((20, 30, 10), dtype=np.int64)
    label[2:4, 5:10, 1:3] = 1  # 20 voxels
    label[10:14, 5:10, 6:7] = 1  # 20 voxels
    label[2:6, 20:22, 6:8] = 2  # 16 voxels
    image = 100.0 + 10 * label
    image[:, :, 9] = 0
    return image, label


def test_by_hand():
    image, label = case()
    found = measure_case({"mr": image}, label, SPACING)
    assert found.voxels == {1: 40, 2: 16}
    assert sorted(found.components) == pytest.approx([0.096, 0.12, 0.12])  # ml, 6 mm3 a voxel
    assert found.extent == (12 * 2, 17 * 1, 7 * 3)
    assert found.lesion_slices == 4 / 10
    assert found.foreground == 56 / 6000
    assert found.means["mr"] == pytest.approx({1: 110, 2: 120})
    np.testing.assert_allclose(found.centres[2], [3.5 * 2, 20.5 * 1, 6.5 * 3])
    assert sorted(np.unique(found.inside["mr"])) == [110, 120]
    assert np.unique(found.outside["mr"]).tolist() == [100]  # without the air
    assert len(found.inside["mr"]) == 56


def test_without_label_and_without_foreground():
    image, label = case()
    unknown, healthy = measure_case({"mr": image}, None, SPACING), measure_case({"mr": image}, label * 0, SPACING)
    assert (unknown.labelled, healthy.labelled) == (False, True)
    assert unknown.voxels == healthy.voxels == {}
    assert unknown.extent is None
    with pytest.raises(ValueError, match="different shape"):
        measure_case({"mr": image, "pet": image[1:]}, label, SPACING)


def test_touching_corners_are_one_lesion_and_organs_are_not_counted():
    label = np.zeros((8, 8, 8), dtype=np.int64)
    label[1, 1, 1] = label[2, 2, 2] = 1
    assert len(measure_case({"a": label * 1.0}, label, (1, 1, 1)).components) == 1
    label[3, 3, 3:7] = [2, 3, 4, 5]
    assert measure_case({"a": label * 1.0}, label, (1, 1, 1)).components == ()
