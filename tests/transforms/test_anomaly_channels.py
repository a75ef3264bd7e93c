import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import AnomalyChannelsd


def item(channels=5):
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])).double()
    affine[:3, 3] = torch.tensor([4.0, 2.0, 3.0])
    image = torch.stack([torch.full((6, 7, 4), float(c)) for c in range(channels)])
    return {
        "image": MetaTensor(image, affine=affine),
        "original_affine": torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])).double(),
        "original_shape": torch.tensor([20, 20, 8]),
    }


def test_maps_go_to_the_grid_of_the_scan_in_their_own_units():
    found = AnomalyChannelsd(["adc", "hbv"], map_scale=2.0)(item())
    for key, value in (("adc_map", 1.5), ("hbv_map", 2.0)):
        assert found[key].shape == (1, 20, 20, 8)
        assert found[key][0, 6, 6, 3] == pytest.approx(value)  # inside of what the network saw
        assert found[key][0, 0, 0, 0] == 0
    assert set(found) - set(item()) == {"adc_map", "hbv_map"}


@pytest.mark.parametrize(("modalities", "scale"), [([], 2.0), (["adc"], 0.0)])
def test_nothing_is_added_where_there_are_no_maps(modalities, scale):
    assert set(AnomalyChannelsd(modalities, scale)(item())) == set(item())
