import itertools

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.handlers.scan_view import ScanView, chosen_slices, on_scan

CODES = ["".join(c) for p in itertools.permutations(("RL", "AP", "IS")) for c in itertools.product(*p)]


def stored(codes, shape=(5, 6, 7)):
    """A volume whose value tells where a voxel lies in the patient, stored along the axes of some codes."""
    places = np.arange(np.prod(shape)).reshape(shape)
    to = nibabel.orientations.axcodes2ornt(tuple(codes))
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    transform = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), to)
    image = nibabel.Nifti1Image(places.astype(np.int32), affine).as_reoriented(transform)
    return places, np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("codes", CODES)
def test_every_way_of_storing_is_seen_alike_and_numbers_are_those_of_the_file(codes):
    places, values, affine = stored(codes)
    view = ScanView(affine, values.shape)
    np.testing.assert_array_equal(view.ras(values), places)
    np.testing.assert_array_equal(view.own(places), values)
    assert view.spacing == (2, 3, 4)
    for axis, index in ((0, 1), (1, 4), (2, 0)):
        own = view.file_axis(axis)
        shown = np.take(places, index, axis)
        number = int(view.number(axis, index).split()[1]) - 1
        assert set(np.take(values, number, own).ravel()) == set(shown.ravel())
        assert view.number(axis, index).endswith(f"of {values.shape[own]}")


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PSL"])
def test_masks_of_the_network_and_of_the_scan_come_to_the_same_place(codes):
    _, _, affine = stored(codes, (20, 22, 24))
    network = np.diag([2.0, 3.0, 4.0, 1.0])
    truth = torch.zeros(20, 22, 24)
    truth[4:9, 6:10, 10:20] = 1
    image = MetaTensor(torch.zeros(1, 20, 22, 24), affine=torch.from_numpy(network))
    shape = nibabel.orientations.apply_orientation(truth.numpy(), ScanView(affine, (1, 1, 1)).orientation).shape
    view = ScanView(affine, tuple(np.take((20, 22, 24), ScanView(affine, (1, 1, 1)).orientation[:, 0].astype(int))))
    assert sorted(shape) == sorted(view.shape)
    expected = truth.numpy() > 0
    np.testing.assert_array_equal(on_scan(truth, image, view, labels=True) > 0, expected)  # without a grid of its own
    at_home = MetaTensor(torch.from_numpy(view.own(truth.numpy()).copy()), affine=torch.from_numpy(affine))
    np.testing.assert_array_equal(on_scan(at_home, image, view, labels=True) > 0, expected)


def test_a_volume_on_no_known_grid_is_refused():
    view, image = ScanView(np.eye(4), (4, 4, 4)), torch.zeros(1, 4, 4, 4)
    with pytest.raises(ValueError, match=r"\(3, 3, 3\) is neither"):
        on_scan(torch.zeros(3, 3, 3), image, view)


def test_slices_differ_and_what_matters_comes_first():
    one = np.zeros(40)
    one[10:20] = [1, 5, 6, 7, 8, 9, 8, 7, 6, 5]
    other = np.zeros(40)
    other[35] = 0.1
    assert chosen_slices([one, other], 2) == [15, 35]
    assert chosen_slices([one], 3) == [13, 15, 17]  # not 14, 15, 16
    assert chosen_slices([other], 3) == [34, 35, 36]
    assert chosen_slices([np.zeros(9)], 3) == [0, 4, 8]  # nothing to see
    assert chosen_slices([np.ones(2)], 3) == [0, 1]
