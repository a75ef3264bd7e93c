import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.data import DomainSampler, DomainSliceDataset
from monai_ext.errors import ConfigError, DataError
from monai_ext.transforms import GENERATOR_SCALES

SIZE = (12, 12, 6)


class Make:
    """A volume for every item: gland in slices 1 to 4; lesions of the given number of pixels per slice."""

    fingerprint = "make"

    def __call__(self, item):
        image = torch.stack([torch.full(SIZE, float(channel)) for channel in range(3)])
        gland = torch.zeros(1, *SIZE, dtype=torch.uint8)
        gland[:, 2:10, 2:10, 1:5] = 1
        result = {"id": item["id"], "image": MetaTensor(image), "gland": MetaTensor(gland)}
        if "lesion" in item:
            label = torch.zeros(1, *SIZE, dtype=torch.uint8)
            for z, pixels in enumerate(item["lesion"]):
                places = torch.arange(pixels)
                label[0, 2 + places % 8, 2 + places // 8, z] = 1
            result["label"] = MetaTensor(label)
        return result


ITEMS = [
    {"id": "positive", "lesion": [0, 0, 20, 3, 0, 0]},
    {"id": "negative", "lesion": [0] * 6},
    {"id": "unknown"},
]


def dataset(tmp_path, domains, items=ITEMS, **options):
    return DomainSliceDataset(items, Make(), tmp_path, "hbv", domains, min_gland_pixels=10, **options)


def test_domains(tmp_path):
    def rows(domains):
        return {tuple(row) for row in dataset(tmp_path, domains).index().tolist()}

    negative = {(1, z, 0) for z in range(1, 5)}
    assert rows("patients") == negative | {(0, 2, 1)}  # three pixels are neither
    assert rows("slices") == negative | {(0, 2, 1), (0, 1, 0), (0, 4, 0)}
    assert rows("healthy") == negative
    assert rows("lesion_free") == {row for row in rows("slices") if row[2] == 0}
    assert rows("mixed") == negative | {(c, z, 1) for c in (0, 2) for z in range(1, 5)}


def test_item_is_scaled_and_masked(tmp_path):
    item = dataset(tmp_path, "patients")[0]
    scale = GENERATOR_SCALES["hbv"]
    inside = item["gland"]
    assert inside.sum() == 64
    assert torch.allclose(item["image"][inside], torch.tensor((2.0 - scale.center) / scale.width))
    assert (item["image"][~inside] == -scale.limit).all()
    assert (item["id"], item["z"], item["domain"], int(item["label"].sum())) == ("positive", 2, 1, 20)


def test_sampler_draws_both_domains_alike(tmp_path):
    data = dataset(tmp_path, "patients")
    sampler = DomainSampler(data, 2000)
    torch.manual_seed(0)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 2000
    counts = np.bincount(drawn, minlength=len(data))
    domain = data.index()[:, 2]
    assert counts[domain == 1].sum() == counts[domain == 0].sum() == 1000
    assert counts[domain == 0].min() > 180  # 250 each
    torch.manual_seed(0)
    assert list(sampler) == drawn


def test_errors(tmp_path):
    with pytest.raises(ConfigError, match="domains 'sick'"):
        dataset(tmp_path, "sick")
    with pytest.raises(DataError, match=r"none of.* healthy slice"):
        dataset(tmp_path, "patients", ITEMS[:1]).index()
    with pytest.raises(DataError, match="diseased slice"):
        dataset(tmp_path, "patients", ITEMS[1:]).index()
