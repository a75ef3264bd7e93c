import math

import pytest

from monai_ext.data.io.suv import suv_scale
from monai_ext.errors import DataError

F18 = 6586.2  # s
SCAN = {
    "units": "BQML",
    "decay_correction": "START",
    "weight": 70.0,
    "dose": 350e6,
    "half_life": F18,
    "elapsed": 3600.0,
}


@pytest.mark.parametrize("half_life", [F18, 4062.6])
@pytest.mark.parametrize("elapsed", [0.0, 3600.0, 3 * 3600.0])
@pytest.mark.parametrize("decay_correction", ["START", "NONE", "ADMIN"])
def test_a_dose_spread_evenly_over_the_body_is_one(half_life, elapsed, decay_correction):
    """Simulates the physics: exponential decay from the injection to the scan, and to a slice 300 s later."""
    weight, dose = 82.5, 287e6
    at_injection = dose / (weight * 1000)  # Bq/ml at 1 g/ml

    def after(seconds):
        return at_injection * math.exp(-math.log(2) / half_life * seconds)

    slice_time = elapsed + 300
    activity = {"START": after(elapsed), "NONE": after(slice_time), "ADMIN": at_injection}[decay_correction]
    given = slice_time if decay_correction == "NONE" else elapsed
    value = activity * suv_scale(
        units="BQML",
        decay_correction=decay_correction,
        weight=weight,
        dose=dose,
        half_life=half_life,
        elapsed=given,
    )
    assert value == pytest.approx(1.0, rel=1e-12)


def test_worked_example():
    # 5 kBq/ml in 70 kg, 350 MBq one half-life ago: 5000 * 70000 / 175e6
    assert 5000 * suv_scale(**SCAN | {"elapsed": F18}) == pytest.approx(2.0)


def test_proportional_to_weight_and_inverse_to_dose():
    scale = suv_scale(**SCAN)
    assert suv_scale(**SCAN | {"weight": 140.0}) == pytest.approx(2 * scale)
    assert suv_scale(**SCAN | {"dose": 700e6}) == pytest.approx(scale / 2)


def test_an_image_in_suv_stays():
    assert suv_scale("GML", None, None, None, None, None) == 1.0


def test_a_correction_to_the_injection_needs_no_times():
    assert suv_scale(**SCAN | {"decay_correction": "ADMIN", "half_life": None, "elapsed": None}) == pytest.approx(2e-4)


@pytest.mark.row(31)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "patient's weight is missing"),
        ({"weight": 0.0}, "patient's weight is 0.0 kg"),
        ({"weight": 70000.0}, "weight of 70000 kg is not plausible. Is it in kg"),
        ({"weight": math.nan}, "patient's weight is nan"),
        ({"dose": None}, "injected dose is missing"),
        ({"dose": -1.0}, "injected dose is -1.0 Bq"),
        ({"dose": 350.0}, "dose of 350 Bq is not plausible. Is it in Bq"),
        ({"half_life": None}, "half-life is missing"),
        ({"half_life": 0.0}, "half-life is 0.0 s"),
        ({"elapsed": None}, "injection to scan is None"),
        ({"elapsed": -60.0}, "injection to scan is -60.0 s"),
        ({"elapsed": math.inf}, "injection to scan is inf s"),
        ({"units": None}, "units None"),
        ({"units": "CNTS"}, "units 'CNTS'"),
        ({"decay_correction": None}, "decay correction None"),
        ({"decay_correction": "YES"}, "decay correction 'YES'"),
    ],
)
def test_nothing_is_assumed(change, message):
    with pytest.raises(DataError, match=message):
        suv_scale(**SCAN | change)
