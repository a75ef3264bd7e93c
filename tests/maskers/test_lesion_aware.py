import pytest
import torch
from torch import Generator

from monai_ext.maskers import LesionAwareMasker, mask_all_but, weighted_sample


def slice_with(patches: int, share: float) -> torch.Tensor:
    """A label whose first ``patches`` patches of the middle row hold ``share`` lesion."""
    label = torch.zeros(1, 1, 88, 88)
    for p in range(patches):
        row, column = 3 + p // 6, p % 6
        block = torch.zeros(64)
        block[: round(64 * share)] = 1
        label[0, 0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = block.view(8, 8)
    return label


# 121 patches, 30 kept, alpha 10: probability that a lesion patch is kept.
@pytest.mark.parametrize(
    ("patches", "share", "expected"),
    [(1, 1.0, 0.95), (4, 1.0, 0.94), (4, 0.5, 0.79), (12, 1.0, 0.88)],
)
def test_keep_probability_of_lesion_patches(patches, share, expected):
    label = slice_with(patches, share)
    masker = LesionAwareMasker()
    kept = ~masker({"label": label.expand(10_000, -1, -1, -1)}, generator=Generator().manual_seed(0))
    lesion = torch.nn.functional.avg_pool2d(label, 8).flatten() > 0
    assert set(kept.sum(1).tolist()) == {30}
    assert kept[:, lesion].float().mean() == pytest.approx(expected, abs=0.01)
    if patches == 12:
        assert kept[:, ~lesion].float().mean() == pytest.approx(0.178, abs=0.01)


def test_keep_probability_of_a_tenth_of_lesion():
    """A tenth of a patch is no whole number of pixels, so its weight 1 + 10 * 0.1 is given to the draw itself."""
    weights = torch.ones(10_000, 121)
    weights[:, :2] = 2
    kept = ~mask_all_but(weighted_sample(weights, 30, Generator().manual_seed(0)), 121)
    assert kept[:, :2].float().mean() == pytest.approx(0.43, abs=0.01)


def test_uniform_without_lesion_or_with_alpha_zero():
    empty = torch.zeros(10_000, 1, 88, 88)
    kept = ~LesionAwareMasker()({"label": empty}, generator=Generator().manual_seed(0))
    assert (kept.float().mean(0) - 30 / 121).abs().max() < 0.02
    full = slice_with(4, 1.0).expand(10_000, -1, -1, -1)
    kept = ~LesionAwareMasker(alpha=0)({"label": full}, generator=Generator().manual_seed(0))
    assert (kept.float().mean(0) - 30 / 121).abs().max() < 0.02


def test_every_positive_label_value_is_lesion_and_the_label_is_untouched():
    label = slice_with(3, 1.0)
    grades = label * 4
    masker = LesionAwareMasker()
    a, b = (masker({"label": x}, generator=Generator().manual_seed(0)) for x in (label, grades))
    assert torch.equal(a, b)
    assert torch.equal(grades, label * 4)


def test_arguments():
    with pytest.raises(ValueError, match="-1"):
        LesionAwareMasker(alpha=-1)
    with pytest.raises(ValueError, match=r"1\.0"):
        LesionAwareMasker(mask_ratio=1.0)
