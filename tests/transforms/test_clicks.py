import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_ext.errors import DataError
from monai_ext.transforms.clicks import ClickChannels, RandClicksd, read_clicks

NONE = {"tumor": np.zeros((0, 3)), "background": np.zeros((0, 3))}


def test_challenge_form(tmp_path):
    points = [([1, 2, 3], "tumor"), ([4, 5, 6], "background"), ([7, 8, 9], "tumor")]
    content = {"version": {"major": 1, "minor": 0}, "type": "Multiple points"}
    content["points"] = [{"point": point, "name": name} for point, name in points]
    (tmp_path / "c.json").write_text(json.dumps(content))
    found = read_clicks(tmp_path / "c.json")
    assert found["tumor"].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert found["background"].tolist() == [[4, 5, 6]]
    assert {name: len(p) for name, p in read_clicks(None).items()} == {"tumor": 0, "background": 0}


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"points": [{"point": [1, 2], "name": "tumor"}]}', '{"points": [{"point": [1, 2, 3]}]}']
)
def test_other_forms_are_refused_by_name(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(DataError, match=r"case 7: .*c\.json: the clicks cannot be read"):
        read_clicks(tmp_path / "c.json", 7)


def test_balls_against_the_distance_of_the_whole_image():
    points = {**NONE, "tumor": np.array([[5.0, 6, 7], [15, 3, 8]])}
    channels = ClickChannels("balls", radius=2)(points, np.eye(4), (20, 18, 16))
    grid = np.stack(np.meshgrid(*map(np.arange, (20, 18, 16)), indexing="ij"), -1)
    inside = np.any([np.linalg.norm(grid - p, axis=-1) <= 2 for p in points["tumor"]], axis=0)
    distance = ndimage.distance_transform_edt(inside)
    np.testing.assert_allclose(channels[0].numpy(), distance / distance.max(), atol=1e-6)
    assert not channels[1].any()


def test_gaussian_by_formula():
    points = {**NONE, "background": np.array([[8.0, 8, 8]])}
    channels = ClickChannels("gaussian", sigma=1.5)(points, np.eye(4), (17, 17, 17))
    offset = np.arange(17) - 8
    assert channels[1, :, 8, 8].numpy() == pytest.approx(np.exp(-(offset**2) / 4.5) * (abs(offset) <= 6), abs=1e-6)


def test_clicks_at_and_outside_the_border():
    points = {**NONE, "tumor": np.array([[0.0, 0, 0], [30, 30, 30], [-1, 5, 5]])}
    channel = ClickChannels("balls")(points, np.eye(4), (9, 9, 9))[0]
    assert channel[0, 0, 0] == 1
    assert 0 < channel[0, 5, 5] < 1  # the edge of the ball of a click just outside
    assert channel.max() == 1


@pytest.fixture
def crop():
    rng = np.random.default_rng(0)
    label = np.zeros((1, 24, 24, 24), np.uint8)
    label[0, 2:6, 2:6, 2:6] = 1
    label[0, 10:22, 10:22, 10:22] = 1  # 27 times the volume
    image = torch.from_numpy(rng.normal(size=(4, 24, 24, 24)).astype(np.float32))
    image[2:] = 0
    return {"image": image, "label": torch.from_numpy(label)}


def test_simulated_clicks_fall_where_they_should(crop):
    clicks = RandClicksd("balls", max_clicks=10)
    lesion = crop["label"][0].numpy() > 0
    clicks.set_random_state(seed=0)
    chosen = clicks.on_lesions(lesion, 600).astype(int)
    assert lesion[tuple(chosen.T)].all()
    small = (chosen < 6).all(1).mean()
    assert 0.42 < small < 0.58  # each lesion alike, whatever its size: 6 standard deviations about one half are 0.12
    depth = ndimage.distance_transform_edt(lesion)
    assert depth[tuple(chosen[(chosen >= 10).all(1)].T)].mean() > depth[10:22, 10:22, 10:22].mean() * 1.1
    uptake = crop["image"][1].numpy()
    outside = clicks.outside(lesion, uptake, 200).astype(int)
    assert not lesion[tuple(outside.T)].any()
    assert uptake[tuple(outside.T)].min() >= np.quantile(uptake[~lesion], 0.985)
    assert len(clicks.on_lesions(np.zeros_like(lesion), 5)) == 0
    assert len(clicks.outside(np.ones_like(lesion), uptake, 5)) == 0


def test_crop_gets_its_two_channels_and_keeps_the_others(crop):
    clicks = RandClicksd()
    clicks.set_random_state(seed=3)
    first = clicks(crop)["image"]
    assert torch.equal(first[:2], crop["image"][:2])
    assert first[2].max() == 1
    assert first[3].max() == 1
    assert not crop["image"][2:].any()  # the input is left as it was
    clicks.set_random_state(seed=3)
    assert torch.equal(clicks(crop)["image"], first)
