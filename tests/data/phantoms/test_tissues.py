import numpy as np
import pytest

from monai_ext.data.phantoms.tissues import TISSUES, Scene, apparent_diffusion, diffusion_signal, t2_signal


def test_two_b_values_give_the_adc_back():
    adc = np.linspace(0, 3000, 30)
    low, high = (diffusion_signal(np.full(30, 250.0), adc, b) for b in (50, 1000))
    np.testing.assert_allclose(apparent_diffusion(low, high, 50, 1000), adc, atol=1e-6)
    assert (apparent_diffusion(high, low, 50, 1000) == 0).all()
    assert np.isfinite(apparent_diffusion(np.zeros(2), np.zeros(2), 50, 1000)).all()


def test_signal_falls_to_1_over_e():
    assert t2_signal(np.array(2.0), np.array(80.0), 80.0) == pytest.approx(2 / np.e)
    assert diffusion_signal(np.array(2.0), np.array(1000.0), 1000) == pytest.approx(2 / np.e)


def test_cancer_is_darker_and_restricts_diffusion():
    for zone in ("peripheral", "transition"):
        assert TISSUES["lesion"].t2 < TISSUES[zone].t2
        assert TISSUES["lesion"].adc < TISSUES[zone].adc


def test_weights_mix_tissues_and_a_window_paints_the_whole():
    scene, weight = Scene((4, 4, 4), "fat"), np.zeros((2, 4, 4))
    weight[0], weight[1, 0] = 1.0, 0.5
    scene.window(np.s_[1:3]).paint(weight, "urine", t2=2.0)
    fat, urine = TISSUES["fat"], TISSUES["urine"]
    assert scene.t2[0, 0, 0] == scene.t2[3, 0, 0] == scene.t2[2, 1, 0] == fat.t2
    assert scene.t2[1, 0, 0] == 2 * urine.t2
    assert scene.t2[2, 0, 0] == pytest.approx((fat.t2 + 2 * urine.t2) / 2)
    assert scene.adc[2, 0, 0] == pytest.approx((fat.adc + urine.adc) / 2)


def test_texture_has_the_spread_of_the_tissue():
    scene, field = Scene((30, 30, 30), "muscle"), np.random.default_rng(0).standard_normal((2, 30, 30, 30))
    scene.vary(*field)
    muscle = TISSUES["muscle"]
    assert np.log(scene.t2 / muscle.t2).std() == pytest.approx(muscle.texture, rel=0.03)
    assert np.log(scene.adc / muscle.adc).std() == pytest.approx(muscle.texture / 2, rel=0.03)
