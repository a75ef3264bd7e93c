import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import image as pictures
from matplotlib.axes import Axes
from monai.transforms import RandFlipd

from monai_ext.data import fingerprint
from monai_ext.handlers import GeneratorPreview, GeneratorRecord, draw_anomalies
from monai_ext.handlers.anomaly_figure import AnomalyRow
from monai_ext.networks.nets import FixedPointGenerator
from monai_ext.transforms import GENERATOR_SCALES


def row(title, truth=True, sign=1.0):
    rng = np.random.default_rng(0)
    plane = rng.random((20, 24))
    plane[:3] = np.nan
    lesion = np.zeros((20, 24), bool)
    lesion[8:12, 9:14] = True
    return AnomalyRow(title, plane, plane + 0.1, sign * np.abs(plane), lesion if truth else None)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_row_per_slice(tmp_path, sign):
    draw_anomalies([row("a\nadc", sign=sign)], tmp_path / "one.png")
    draw_anomalies([row("a\nadc"), row("b\nt2w", truth=False)], tmp_path / "two.png")
    one, two = (pictures.imread(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.shape[0] > 1.6 * one.shape[0]
    assert one[..., :3].std() > 0.05


def test_maps_have_one_scale_in_all_pictures(tmp_path, monkeypatch):
    seen, draw = [], Axes.imshow

    def imshow(self, *args, **kwargs):
        seen.append((kwargs["cmap"], kwargs["vmax"]))
        return draw(self, *args, **kwargs)

    monkeypatch.setattr(Axes, "imshow", imshow)
    for strength in (0.1, 5.0):
        draw_anomalies([row("a\nadc", sign=strength)], tmp_path / "one.png")
    tops = [top for colours, top in seen if colours == "inferno"]
    assert tops == [GENERATOR_SCALES["adc"].width / 2] * 2


def test_nothing_inside_the_gland_is_drawn_too(tmp_path):
    empty = np.full((20, 24), np.nan)
    draw_anomalies([AnomalyRow("a\nadc", empty, empty, empty, None)], tmp_path / "empty.png")
    assert (tmp_path / "empty.png").is_file()


class Slices:
    """Six slices, two of them diseased."""

    def index(self):
        return np.array([[0, z, int(z > 3)] for z in range(6)])

    def __getitem__(self, index):
        image = torch.rand(1, 16, 16)
        return {"image": image, "gland": image > 0.1, "label": image > 0.9, "domain": 0, "id": "p", "z": index}


def test_preview_and_record_of_a_generator(tmp_path):
    network = FixedPointGenerator(channels=4, num_blocks=1)
    GeneratorPreview(str(tmp_path / "r.png"), network, Slices(), "adc")(SimpleNamespace())
    assert (tmp_path / "r.png").stat().st_size > 10_000
    GeneratorRecord(network, str(tmp_path / "adc.pt"), ["b", "a", "b"], {"modality": "adc"})(SimpleNamespace())
    record = json.loads((tmp_path / "adc.json").read_text())
    assert record["training_patients"] == ["a", "b"]
    assert record["generator"] == fingerprint(network.state_dict())
    assert record["settings"] == {"modality": "adc"}


class Flipped(Slices):
    """Slices that are flipped at random."""

    def __init__(self):
        self.flip = RandFlipd(["image", "gland", "label"], prob=0.5, spatial_axis=0)

    def __getitem__(self, index):
        torch.manual_seed(index)
        return self.flip(super().__getitem__(index))


def test_preview_is_the_same_however_much_was_drawn_before(tmp_path):
    network, slices = FixedPointGenerator(channels=4, num_blocks=1, start_as_identity=False), Flipped()
    for number in range(4):
        GeneratorPreview(str(tmp_path / f"{number}.png"), network, slices, "adc")(SimpleNamespace())
        slices[0]
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 1
