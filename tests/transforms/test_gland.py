import pickle

import pytest
import torch
from monai.data import Dataset, MetaTensor
from torch import nn
from torch.utils.data import DataLoader

from monai_ext.errors import CheckpointError, ConfigError, DataError, find_bundle_error
from monai_ext.transforms.gland import CropToGlandd, GlandPredictor, gland_unet


class Bright(nn.Module):
    """Gland = where the image is bright; has one weight, so that it has something to load."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.0))

    def forward(self, image):
        return (image - self.threshold) * 20


@pytest.fixture
def item():
    gland = torch.zeros(1, 40, 30, 10)
    gland[:, 12:22, 9:20, 3:7] = 1
    affine = torch.diag(torch.tensor([0.5, 0.6, 3.0, 1.0]))
    image = torch.rand(1, 40, 30, 10, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 40, 30, 10)
    label[:, 14:18, 12:16, 4:6] = 1
    return {key: MetaTensor(v, affine=affine) for key, v in (("t2w", image), ("label", label), ("gland", gland))}


def test_box_without_resizing_is_a_slice(item):
    crop = CropToGlandd("t2w", "label", padding=3, size=(16, 17, 10))(item)
    for key in ("t2w", "label"):
        torch.testing.assert_close(crop[key].as_tensor(), item[key].as_tensor()[:, 9:25, 6:23])
        corner = crop[key].affine @ torch.tensor([0.0, 0, 0, 1]).double()
        torch.testing.assert_close(corner[:3], torch.tensor([4.5, 3.6, 0]).double())
    assert "gland" not in crop


def test_box_is_clamped_at_the_border(item):
    crop = CropToGlandd("t2w", padding=100, size=(40, 30, 10))(item)
    torch.testing.assert_close(crop["t2w"].as_tensor(), item["t2w"].as_tensor())


def test_physical_extent_survives_resizing(item):
    crop = CropToGlandd("t2w", padding=3, size=(88, 88, 64))(item)["t2w"]
    for edge, expected in (((-0.5,) * 3, (8.5, 5.5, -0.5)), ((87.5, 87.5, 63.5), (24.5, 22.5, 9.5))):
        found = crop.affine @ torch.tensor([*edge, 1]).double()
        torch.testing.assert_close(found[:3], torch.tensor(expected).double() * torch.tensor([0.5, 0.6, 3.0]))


def test_lesion_out_of_the_box_warns_with_its_share(item):
    item["label"][:, 38:39, 12:16, 4:6] = 1  # 8 voxels beside the 32
    with pytest.warns(UserWarning, match=r"20.0% of label \(8 voxels\)"):
        CropToGlandd("t2w", "label", padding=3)(item)


def test_no_gland(item):
    with pytest.raises(DataError, match="mask is empty"):
        CropToGlandd("t2w")({**item, "gland": item["gland"] * 0})
    del item["gland"]
    with pytest.raises(DataError, match=r"case 1.*no gland mask.*run gland"):
        CropToGlandd("t2w")({**item, "id": 1})


def test_a_gland_that_is_the_frame(item):
    with pytest.warns(UserWarning, match=r"case 1: the gland that the network found fills 100% of the scan"):
        CropToGlandd("t2w", network=torch.ones_like)({"t2w": item["t2w"], "id": 1})


def test_network_takes_the_place_of_the_mask(item, tmp_path):
    network = Bright()
    torch.save({"model": {"threshold": torch.tensor(2.0)}}, tmp_path / "gland.pt")
    gland = item.pop("gland")
    image = gland * 4
    image[:, 30:33, 3:6, 2:4] = 4  # a second, smaller bright spot
    predictor = GlandPredictor(tmp_path / "gland.pt", network, size=(40, 30, 10))
    assert torch.equal(predictor(image), gland.as_tensor() > 0)
    by_network = CropToGlandd("t2w", network=predictor)({"t2w": image})
    by_mask = CropToGlandd("t2w")({"t2w": image, "gland": gland})
    assert torch.equal(by_network["t2w"], by_mask["t2w"])
    pickle.loads(pickle.dumps(predictor))


def test_predictor_on_another_grid(tmp_path):
    torch.save({"threshold": torch.tensor(0.5)}, tmp_path / "gland.pt")
    image = torch.zeros(1, 64, 48, 20)
    image[:, 16:40, 16:32, 4:16] = 1
    mask = GlandPredictor(tmp_path / "gland.pt", Bright(), size=(32, 24, 10))(image)
    assert mask.shape == image.shape
    assert (mask != (image > 0.5)).sum() <= 8  # interpolation rounds off the corners


def test_weights_that_are_missing_or_do_not_fit(tmp_path, item):
    with pytest.raises(DataError, match=r"none.pt.*no weights"):
        GlandPredictor(tmp_path / "none.pt")(item["t2w"])
    torch.save({"threshold": torch.tensor(0.5)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other.pt"):
        GlandPredictor(tmp_path / "other.pt")(item["t2w"])
    torch.save({"call": print}, tmp_path / "unsafe.pt")
    with pytest.raises(CheckpointError) as caught:
        GlandPredictor(tmp_path / "unsafe.pt")(item["t2w"])
    assert find_bundle_error(caught.value) is caught.value


def test_fingerprint_follows_the_weights(tmp_path):
    predictor = GlandPredictor(tmp_path / "gland.pt", Bright())
    seen = {predictor.fingerprint}
    for value in (0.1, 0.2):
        torch.save({"threshold": torch.tensor(value)}, tmp_path / "gland.pt")
        seen.add(predictor.fingerprint)
    assert len(seen) == 3
    assert predictor.fingerprint == GlandPredictor(tmp_path / "gland.pt", Bright()).fingerprint


def test_gland_unet_shape():
    with torch.no_grad():
        assert gland_unet()(torch.zeros(1, 1, 32, 32, 16)).shape == (1, 2, 32, 32, 16)


def test_a_process_that_a_loader_starts_takes_the_processors(tmp_path):
    """On the device itself, which here holds no values, the mask could not be read."""
    torch.manual_seed(0)
    torch.save(gland_unet().state_dict(), tmp_path / "gland.pt")
    image = torch.rand(1, 32, 32, 16)

    def find(device, workers):
        predict = GlandPredictor(tmp_path / "gland.pt", size=(16, 16, 8), device=device)
        return next(iter(DataLoader(Dataset([image], predict), batch_size=None, num_workers=workers)))

    assert torch.equal(find("meta", 1), find("cpu", 0))


def test_the_middle_of_the_scan_stands_for_the_gland_if_it_is_asked_for(tmp_path):
    affine = torch.diag(torch.tensor([0.5, 2.0, 3.0, 1.0])).double()
    image = MetaTensor(torch.rand(1, 200, 50, 30), affine=affine)
    with pytest.raises(DataError, match="--gland centre"):
        GlandPredictor(tmp_path / "none.pt")(image)
    with pytest.warns(UserWarning, match="no gland network: the middle 64 mm of the scan stand for the gland"):
        box = GlandPredictor(tmp_path / "none.pt", otherwise="centre")(image)
    inside = box[0].nonzero()
    first, last = inside.min(0).values, inside.max(0).values
    assert (last - first + 1).tolist() == [128, 32, 21]  # 64 mm
    assert torch.equal(box.sum(), (last - first + 1).prod())
    assert ((first + last) / 2 - torch.tensor([99.5, 24.5, 14.5])).abs().max() <= 0.5
    with pytest.raises(ConfigError, match="'middle' is not 'centre'"):
        GlandPredictor(tmp_path / "none.pt", otherwise="middle")
    settings = GlandPredictor(tmp_path / "none.pt", otherwise={"max_epochs": 8})  # of the phase, in a common overlay
    with pytest.raises(DataError, match="--gland centre"):
        settings(image)


def test_a_network_that_finds_nothing(tmp_path):
    torch.save({"threshold": torch.tensor(9.0)}, tmp_path / "gland.pt")
    image = torch.zeros(1, 100, 100, 100)
    predictor = GlandPredictor(tmp_path / "gland.pt", Bright(), size=(8, 8, 8), otherwise="centre")
    with pytest.warns(UserWarning, match="the network found no gland"):
        assert int(predictor(image).sum()) == 64**3
    assert not GlandPredictor(tmp_path / "gland.pt", Bright(), size=(8, 8, 8))(image).any()
    assert predictor.fingerprint != GlandPredictor(tmp_path / "gland.pt", Bright(), size=(8, 8, 8)).fingerprint
