import pytest
import torch
from monai.data import MetaTensor

from monai_ext.phases.map_judgement import LESION_SIGN, compare_maps, judge_case, map_gains
from monai_ext.transforms import AnomalyMapper, Views, anomaly_map

SPACING = (1.5, 1.5, 3.0)


@pytest.fixture
def scene():
    """A gland with texture, and a lesion that is bright on high-b and dark on T2W and ADC."""
    draws = torch.Generator().manual_seed(0)
    gland, truth = (torch.zeros(1, 32, 32, 6, dtype=torch.bool) for _ in range(2))
    gland[0, 4:28, 5:27, 1:5] = True
    truth[0, 8:13, 8:14, 2:4] = True
    affine = torch.diag(torch.tensor([*SPACING, 1.0])).double()
    healthy = {m: MetaTensor(0.3 * torch.randn(1, 32, 32, 6, generator=draws), affine=affine) for m in LESION_SIGN}
    study = {m: MetaTensor(x.as_tensor() + LESION_SIGN[m] * truth, affine=affine) for m, x in healthy.items()}
    return affine, gland, truth, study, healthy


def judge(scene, share):
    """Measures of a reconstruction that removes a share of the lesion and nothing else."""
    affine, gland, truth, study, healthy = scene
    images = {m: x.as_tensor() for m, x in study.items()}
    made = {m: x - share * (x - healthy[m].as_tensor()) for m, x in images.items()}
    mapper = AnomalyMapper(torch.nn.Identity(), "nowhere", spacing=SPACING, size=(32, 32, 6))
    return judge_case(study, Views(affine, gland, images, made, {}), truth, mapper, healthy=healthy)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_reconstruction_without_the_lesion_is_judged_by_what_it_removes(scene, share):
    found = judge(scene, share)
    for m in LESION_SIGN:
        assert found[f"removed_{m}"] == pytest.approx(share, abs=1e-4)
        assert found[f"change_outside_{m}"] == pytest.approx(0, abs=1e-6)
        assert found[f"correlation_{m}"] == pytest.approx(1, abs=1e-4)
        assert found[f"auroc_signed_{m}"] == pytest.approx(found[f"auroc_oracle_signed_{m}"], abs=1e-6)
        assert found[f"auroc_signed_{m}"] > found[f"auroc_constant_signed_{m}"]
        assert found[f"constant_change_outside_{m}"] > 0.05


def test_the_constant_map_is_the_smoothed_image(scene):
    _, gland, truth, study, _ = scene
    found = judge(scene, 0.0)
    smoothed = anomaly_map(study["hbv"].as_tensor(), torch.zeros(1, 32, 32, 6), gland, SPACING, (1.15, 1.15, 0), True)
    pairs = smoothed[gland & truth][:, None] > smoothed[gland & ~truth]
    assert found["auroc_constant_signed_hbv"] == pytest.approx(pairs.float().mean().item(), abs=1e-4)


def test_without_a_counterfactual_nothing_is_said_of_it(scene):
    affine, gland, truth, study, _ = scene
    images = {m: x.as_tensor() for m, x in study.items()}
    mapper = AnomalyMapper(torch.nn.Identity(), "nowhere", spacing=SPACING, size=(32, 32, 6))
    found = judge_case(study, Views(affine, gland, images, images, {}), truth, mapper)
    assert not [name for name in found if "removed" in name or "oracle" in name or "correlation" in name]
    assert found["change_outside_adc"] == 0


def test_the_gain_is_over_the_best_plain_map_of_the_same_modality():
    names = ("map_adc", "trivial_inverted_adc", "constant_map_adc", "trivial_high_b")
    values = ((0.7, 0.6, 0.2, 0.9), (0.5, 0.7, 0.8, 0.9))
    cases = [{f"auroc_{name}": value for name, value in zip(names, case)} for case in values]
    map_gains(cases)
    assert [case["gain_map_adc"] for case in cases] == pytest.approx([0.1, -0.2])


def means(**values):
    return {f"{name}_testing": {"mean": value} for name, value in values.items()}


def test_verdicts_compare_within_a_modality():
    known = means(
        auroc_map_adc=0.7, auroc_trivial_inverted_adc=0.6, auroc_trivial_high_b=0.9, auroc_insample_map_adc=0.99
    )
    (text,) = compare_maps(known, "testing")
    assert "map_adc (AUROC 0.700) separates" in text
    (text,) = compare_maps(known | means(auroc_trivial_smooth_adc=0.7), "testing")
    assert "does NOT separate" in text
    assert "smooth_adc" in text
    assert compare_maps(means(auroc_map_adc=None), "testing") == []
    assert compare_maps(known, "training") == []


def test_a_map_that_a_constant_reconstruction_would_get_too_is_named():
    known = means(auroc_signed_hbv=0.83, auroc_constant_signed_hbv=0.92, removed_hbv=0.8, change_outside_hbv=0.14)
    known |= means(constant_change_outside_hbv=0.15)
    (text,) = compare_maps(known, "testing")
    assert "a constant reconstruction gets 0.920, and this one changes as much: it GAMES the AUROC" in text
    assert "80% of the lesions' signal is removed, RMS change outside 0.140 of the range" in text
    for honest in ({"auroc_signed_hbv": 0.95}, {"change_outside_hbv": 0.01}):
        (text,) = compare_maps(known | means(**honest), "testing")
        assert "GAMES" not in text
