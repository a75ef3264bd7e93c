import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms.intensity import ClipZScored, ScaleADCd


def test_clip_z_score_against_numpy():
    values = np.random.default_rng(0).gamma(2, 50, size=(1, 20, 21, 22)).astype(np.float32)
    clipped = np.clip(values, *np.percentile(values, [0.5, 99.5]))
    expected = (clipped - clipped.mean()) / clipped.std()
    found = ClipZScored("t2w")({"t2w": MetaTensor(values)})["t2w"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_z_score_ignores_scale_and_offset():
    image = MetaTensor(torch.rand(1, 9, 9, 9))
    first, second = (ClipZScored("t2w")({"t2w": i})["t2w"] for i in (image, image * 700 + 30))
    torch.testing.assert_close(first.as_tensor(), second.as_tensor(), atol=1e-3, rtol=0)


def test_constant_volume_becomes_zero():
    assert ClipZScored("t2w")({"t2w": MetaTensor(torch.full((1, 4, 4, 4), 7.0))})["t2w"].abs().max() == 0


def adc():
    return MetaTensor(torch.empty(1, 12, 12, 12).uniform_(500, 2500, generator=torch.Generator().manual_seed(0)))


def test_adc_keeps_its_meaning(recwarn):
    found = ScaleADCd()({"adc": adc()})["adc"]
    torch.testing.assert_close(found.as_tensor(), ((adc() - 1200) / 500).as_tensor())
    assert not [w for w in recwarn if "ADC" in str(w.message) or "taken as" in str(w.message)]


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "1e-3 mm2/s"), (1e-6, "taken as mm2/s")])
def test_adc_in_other_units(factor, unit):
    with pytest.warns(UserWarning, match=f"case 3.*{unit}"):
        found = ScaleADCd()({"id": 3, "adc": adc() * factor})["adc"]
    torch.testing.assert_close(found.as_tensor(), ((adc() - 1200) / 500).as_tensor(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("values", [adc() * 10, adc() - 900, torch.zeros_like(adc()), adc() * 0.07])
def test_what_is_no_adc_warns(values):
    with pytest.warns(UserWarning, match="does not look like an ADC map"):
        ScaleADCd()({"adc": values})
