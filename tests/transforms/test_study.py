import numpy as np
import pytest
import torch

from monai_ext.transforms import LoadStudy


@pytest.mark.parametrize("named", [True, False], ids=["named", "found beside T2W"])
def test_everything_comes_onto_the_grid_of_t2w(study, named):
    found = LoadStudy()(study if named else {"t2w": study["t2w"], "label": study["label"]})
    assert found["id"] == "case"
    for key in ("t2w", "adc", "hbv", "gland", "label"):
        assert found[key].shape == (1, 80, 72, 12)
        torch.testing.assert_close(found[key].affine, found["t2w"].affine)
        assert (found[key].affine.diag() > 0).all()  # RAS
    assert found["original_shape"].tolist() == [80, 72, 12]
    assert found["original_affine"][0, 0] < 0  # the file's own
    assert found["gland"].sum() == 32 * 30 * 8


def test_without_label_the_label_is_left_alone(study):
    assert LoadStudy(with_label=False)(study)["label"] == study["label"]


def test_two_b_values_stand_for_adc_and_high_b(study, tmp_path, save):
    """Of S = S0 exp(-b ADC) at b = 50 and 1000, ADC in 1e-6 mm2/s and the signal at b = 1500."""
    adc, s0 = 1.1e-3, 200.0
    dwi = {
        f"dwi_b{b}": save(tmp_path / f"{b}.nii.gz", np.full((80, 72, 12), s0 * np.exp(-b * adc), np.float32))
        for b in (50, 1000)
    }
    with pytest.warns(UserWarning, match="constant"):
        found = LoadStudy()({"id": "case", "t2w": save(tmp_path / "t2w.nii.gz", np.random.rand(80, 72, 12))} | dwi)
    torch.testing.assert_close(found["adc"].as_tensor(), torch.full((1, 80, 72, 12), 1100.0), rtol=1e-3, atol=0)
    due = torch.full((1, 80, 72, 12), s0 * np.exp(-1.65), dtype=torch.float32)
    torch.testing.assert_close(found["hbv"].as_tensor(), due, rtol=1e-3, atol=0)
