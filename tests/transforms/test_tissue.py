import nibabel
import numpy as np
import pytest
import torch

from monai_ext.transforms import SlicePreprocessing
from monai_ext.transforms.tissue import otsu_threshold, tissue_mask, tissue_statistics


def scan(air, seed=0):
    """Tissue of 100 +- 10 in the middle, and noise of up to 8 in so many voxels round it."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.1, 8, (24 + air, 24 + air, 5))
    start = (4 + air) // 2
    image[start : start + 20, start : start + 20] = rng.normal(100, 10, (20, 20, 5))
    return image.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_threshold_is_the_best_of_all(seed):
    """Beside a search over all edges for the least variance within the classes, which is the same by Otsu's theorem."""
    values = torch.from_numpy(scan(6, seed)).flatten()
    edges = np.histogram_bin_edges(values.numpy(), 256)
    within = []
    for edge in edges[1:-1]:
        low, high = values[values < edge], values[values >= edge]
        within.append(float(len(low) * low.var(correction=0) + len(high) * high.var(correction=0)))
    found = otsu_threshold(values)
    low, high = values[values < found], values[values >= found]
    own = float(len(low) * low.var(correction=0) + len(high) * high.var(correction=0))
    assert own == pytest.approx(min(within), rel=0.01)


@pytest.mark.parametrize("air", [2, 20, 60])
def test_the_field_of_view_does_not_matter(air):
    mean, std, floor = tissue_statistics(torch.from_numpy(scan(air)))
    assert -10 < floor < 60
    assert mean == pytest.approx(100, abs=1)
    assert std == pytest.approx(10, abs=0.7)


def test_constant_values():
    assert tissue_statistics(torch.full((5,), 3.0)) == (3.0, 1.0, 2.0)


def test_slices_of_two_fields_of_view_look_alike(tmp_path):
    def prepared(air, **options):
        path = tmp_path / f"{air}_flair.nii.gz"
        nibabel.save(nibabel.Nifti1Image(scan(air), np.eye(4)), path)
        image = SlicePreprocessing(("flair",), (16, 16), (1, 1, 1), percentiles=(0, 100), **options)(
            {"flair": str(path)}
        )
        return float(image["image"].as_tensor().median())

    assert abs(prepared(2, tissue=True) - prepared(60, tissue=True)) < 0.3
    assert abs(prepared(2) - prepared(60)) > 0.8


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("air", [2, 20, 60])
def test_the_mask_is_the_tissue_whatever_lies_round_it(air, padding):
    image = np.pad(scan(air), ((padding, padding), (0, 0), (0, 0)), constant_values=-50)
    start = (4 + air) // 2
    wanted = np.zeros(image.shape, dtype=bool)
    wanted[start + padding :, start:][:20, :20] = True
    found = tissue_mask(torch.from_numpy(image)).numpy()
    assert (found != wanted).mean() < 0.001


def test_a_mask_of_one_value_is_all_of_it():
    assert tissue_mask(torch.full((3, 4), 5.0)).all()
    assert tissue_mask(torch.tensor([0.0] * 50 + [1.0] * 50)).tolist() == [False] * 50 + [True] * 50
