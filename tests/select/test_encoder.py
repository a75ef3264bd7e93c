"""Features of an encoder."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heads import head

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.handlers import WeightsLoader
from monai_ext.select.encoder import EncoderFeatures, find_loader, has_encoder


@pytest.fixture
def look(parser, weights):
    return lambda bundle, **settings: EncoderFeatures(parser(bundle, pretrained=weights(bundle), **settings))


def image_of(kind=0, air=2):
    """A prepared image whose air has one value, and its tissue."""
    values = torch.from_numpy(head(kind, 3, (24, 20, 18)))
    mask = values > 50
    values = torch.where(mask, (values - 150) / 60, torch.tensor(-2.5))
    pad = (air,) * 6
    return F.pad(values, pad, value=-2.5)[None], F.pad(mask, pad)


def test_air_round_the_patient_changes_nothing_in_3d(look):
    encoder = look("anatomask")
    wanted = encoder.pool(*image_of())
    for air in (0, 7):
        for found, mine in zip(encoder.pool(*image_of(air=air)), wanted):
            assert torch.allclose(found, mine, atol=1e-5)
    other = encoder.pool(*image_of(kind=1))
    assert (other[0] - wanted[0]).abs().max() > 1e-3


def test_slices_of_air_change_nothing_in_2d(look):
    encoder = look("amlp")
    image, mask = image_of()
    wanted = encoder.pool(image, mask)
    found = encoder.pool(F.pad(image, (4, 9), value=-2.5), F.pad(mask, (4, 9)))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted))


@pytest.mark.parametrize("bundle", ["amlp", "anatomask"])
def test_the_mean_is_that_of_a_loop_over_the_tissue(look, bundle):
    """Positions of the deepest features weighed by their tissue, written out for one slice or one window."""
    encoder = look(bundle)
    image, mask = image_of()
    if bundle == "amlp":
        image, mask = image[..., 10:11], mask[..., 10:11]
        features = encoder.encoder(image[None, ..., 0])[-1][0]
        weight = F.avg_pool2d(mask[None, ..., 0].float(), 4)[0]
    else:
        image, mask = image[:, 5:21, 4:20, 4:20], torch.ones(16, 16, 16, dtype=torch.bool)
        mask[1:-1, 1:-1, 1:-1] = image[0, 1:-1, 1:-1, 1:-1] > -2  # one window: its rim is tissue
        features = encoder.encoder(image[None])[-1][0]
        weight = F.avg_pool3d(mask[None].float(), 8)[0]
    values, shares = features.detach().flatten(1).double().numpy(), weight.flatten().double().numpy()
    mean = [np.average(channel, weights=shares) for channel in values]
    std = [np.sqrt(np.average((channel - m) ** 2, weights=shares)) for channel, m in zip(values, mean)]
    found = encoder.pool(image, mask)
    assert np.allclose(found[0], mean, atol=1e-5)
    assert np.allclose(found[1], std, atol=1e-4)


@pytest.mark.parametrize("bundle", ["amlp", "anatomask"])
def test_a_scan_gives_its_features_whatever_its_label(look, scans, bundle):
    encoder = look(bundle)
    item = {"id": "p00", "image": str(scans / "p00.nii.gz")}
    found = encoder(item)
    assert found["encoder_mean"].shape == found["encoder_std"].shape == {"amlp": (16,), "anatomask": (64,)}[bundle]
    again = encoder({**item, "label": str(scans / "none.nii.gz")})
    assert all(np.array_equal(found[key], again[key]) for key in found)
    assert found["slice"].ndim == 2


def test_weights_decide(parser, weights):
    one, two = (EncoderFeatures(parser("amlp", pretrained=weights("amlp", seed))) for seed in (0, 1))
    assert one.identity != two.identity
    assert not torch.allclose(one.pool(*image_of())[0], two.pool(*image_of())[0])
    assert one.identity == EncoderFeatures(parser("amlp", pretrained=weights("amlp", 0))).identity


def test_what_there_is_to_load(parser, weights, tmp_path):
    place = find_loader(parser("amlp"))
    assert isinstance(parser("amlp", pretrained=None).get_parsed_content(place), WeightsLoader)
    assert has_encoder(parser("amlp", pretrained=weights("amlp")))
    for path in (None, "null", str(tmp_path / "none.pt")):
        assert not has_encoder(parser("amlp", pretrained=path))
        with pytest.raises(CheckpointError, match="no pretrained weights"):
            EncoderFeatures(parser("amlp", pretrained=path))
    other = parser("amlp", pretrained=weights("amlp"))
    other["train"]["handlers"].pop(int(place[-1]))
    with pytest.raises(ConfigError, match="no pretrained encoder"):
        EncoderFeatures(other)
    with pytest.raises(CheckpointError, match="match"):
        EncoderFeatures(parser("anatomask", pretrained=weights("amlp")))
