import math

import pytest
import torch
from monai.data import MetaTensor

from monai_ext.errors import DataError
from monai_ext.transforms.high_b import HighBValued, extrapolate_b_value


def decay(b, s0, adc):
    return s0 * torch.exp(-b * adc)


@pytest.mark.parametrize(("b_low", "b_high", "b"), [(50, 1000, 1500), (0, 800, 1400), (50, 1000, 1000), (100, 500, 50)])
def test_recovers_the_mono_exponential_model(b_low, b_high, b):
    s0 = torch.rand(500, dtype=torch.float64) * 900 + 100
    adc = torch.rand(500, dtype=torch.float64) * 3e-3
    signal, found = extrapolate_b_value(decay(b_low, s0, adc), decay(b_high, s0, adc), b_low, b_high, b)
    torch.testing.assert_close(found, adc, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(signal, decay(b, s0, adc))


def test_by_hand():
    signal, adc = extrapolate_b_value(torch.tensor([400.0]), torch.tensor([100.0]), 50, 1000, 1500)
    assert adc.item() == pytest.approx(math.log(4) / 950)
    assert signal.item() == pytest.approx(100 * 4 ** (-500 / 950), rel=1e-5)


def test_noise_stays_finite_and_dark():
    low, high = torch.tensor([0.0, 5, 0, -3, 5, 10, 1e-30]), torch.tensor([0.0, 0, 5, 4, -2, 20, 1e-38])
    signal, adc = extrapolate_b_value(low, high, 50, 1000, 1500)
    assert torch.isfinite(signal).all()
    assert torch.isfinite(adc).all()
    assert (adc >= 0).all()
    assert (signal >= 0).all()
    assert (signal <= high.clamp(min=0)).all()


def test_order_of_b_values():
    with pytest.raises(ValueError, match="1000 and 50"):
        extrapolate_b_value(torch.ones(1), torch.ones(1), 1000, 50, 1500)


def item():
    low, high = (MetaTensor(torch.rand(1, 3, 4, 5) + offset, affine=torch.eye(4) * 2) for offset in (2, 1))
    return {"dwi_b50": low, "dwi_b1000": high}


def test_fills_only_what_is_absent():
    data = item()
    signal, adc = extrapolate_b_value(data["dwi_b50"].as_tensor(), data["dwi_b1000"].as_tensor(), 50, 1000, 1500)
    filled = HighBValued()(data)
    assert torch.equal(filled["hbv"].as_tensor(), signal)
    assert torch.equal(filled["adc"].as_tensor(), adc * 1e6)
    assert torch.equal(filled["hbv"].affine, data["dwi_b1000"].affine)
    measured = MetaTensor(torch.ones(1, 3, 4, 5))
    assert HighBValued()({**data, "hbv": measured})["hbv"] is measured
    assert HighBValued()({"hbv": measured}).keys() == {"hbv"}


def test_grids_must_agree():
    data = item()
    data["dwi_b50"].affine[0, 3] += 1
    with pytest.raises(DataError, match="different grids"):
        HighBValued()(data)
