import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, roc_auc_score

from monai_ext.metrics import psnr_inside, ssim_inside, trivial_maps, voxel_ap, voxel_auroc


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_auroc_and_ap_equal_scikit_learn(levels, share):
    rng = np.random.default_rng(levels)
    lesion = rng.random(2000) < share
    values = rng.integers(levels, size=2000) + 0.3 * levels * lesion
    assert voxel_auroc(values, lesion) == pytest.approx(roc_auc_score(lesion, values), abs=1e-12)
    assert voxel_ap(values, lesion) == pytest.approx(average_precision_score(lesion, values), abs=1e-12)


def test_one_class_is_not_defined():
    assert np.isnan(voxel_auroc([1.0, 2.0], [False, False]))
    assert np.isnan(voxel_ap([1.0, 2.0], [True, True]))


def test_psnr_is_that_of_the_formula_inside_the_mask():
    image = torch.zeros(1, 4, 4, 4)
    other, mask = image.clone(), torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    other[0, 0, 0, 0], mask[0, 0, 0, :2] = 0.2, True
    other[0, 3, 3, 3] = 100.0  # outside
    assert psnr_inside(image, other, mask, 2.0) == pytest.approx(10 * np.log10(4 / 0.02), rel=1e-5)
    assert psnr_inside(image, image, mask, 2.0) == float("inf")


def ssim_of_the_formula(x, y, data_range):
    """Wang et al. 2004, equation 13, at every pixel of a plane."""

    def window(values):
        return gaussian_filter(values, 1.5, radius=5)

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = window(x), window(y)
    vx, vy, vxy = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
    return (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def test_ssim_is_that_of_the_formula_inside_the_mask():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((1, 40, 36, 3)).astype(np.float32))
    other = image + 0.1 * torch.from_numpy(rng.standard_normal((1, 40, 36, 3)).astype(np.float32))
    mask = torch.zeros(1, 40, 36, 3, dtype=torch.bool)
    mask[0, 12:30, 10:25] = True
    planes = [(image[0, :, :, z].double().numpy(), other[0, :, :, z].double().numpy()) for z in range(3)]
    expected = np.stack([ssim_of_the_formula(x, y, 1.5) for x, y in planes], -1)[mask[0].numpy()].mean()
    assert ssim_inside(image, other, mask, 1.5) == pytest.approx(expected, abs=1e-4)
    assert ssim_inside(image, image, mask, 1.5) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="smaller than the window"):
        ssim_inside(image[:, :8], image[:, :8], mask[:, :8], 1.0)


def test_trivial_maps_point_at_a_lesion():
    study = {
        m: torch.randn(1, 32, 32, 4, generator=torch.Generator().manual_seed(i))
        for i, m in enumerate(("t2w", "adc", "hbv"))
    }
    lesion = torch.zeros(1, 32, 32, 4, dtype=torch.bool)
    lesion[0, 10:18, 12:20, 1:3] = True
    study["adc"][lesion] -= 1
    study["hbv"][lesion] += 1
    maps = trivial_maps(study, (1.0, 1.0, 3.0))
    scores = {name: voxel_auroc(values, lesion) for name, values in maps.items()}
    assert min(scores["inverted_adc"], scores["high_b"]) > 0.7
    assert scores["smooth_adc"] > scores["inverted_adc"]
    assert abs(scores["inverted_t2w"] - 0.5) < 0.1
