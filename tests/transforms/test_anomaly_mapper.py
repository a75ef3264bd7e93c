import json

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_ext.errors import DataError
from monai_ext.transforms import GENERATOR_SCALES, AnomalyMapper

BOX = {"spacing": (1.5, 1.5, 3.0), "size": (32, 32, 8)}


class Shift(nn.Module):
    """A generator that takes a quarter of the range off, so that every map is known."""

    def __init__(self):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(0.25))

    def reconstruct(self, image, generator=None):
        return image - self.amount


@pytest.fixture
def study():
    affine = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])).double()
    gland = torch.zeros(1, 50, 50, 8)
    gland[:, 14:34, 16:38, 2:6] = 1
    found = {m: GENERATOR_SCALES[m].center + 0.1 * torch.randn(1, 50, 50, 8) for m in GENERATOR_SCALES} | {
        "gland": gland
    }
    return {key: MetaTensor(value, affine=affine) for key, value in found.items()} | {"id": "c"}


@pytest.fixture
def mapper(tmp_path):
    for modality in GENERATOR_SCALES:
        torch.save(Shift().state_dict(), tmp_path / f"{modality}.pt")
        (tmp_path / f"{modality}.json").write_text(json.dumps({"training_patients": ["other"], "generator": "x"}))
    return AnomalyMapper(Shift(), tmp_path, **BOX)


def test_map_of_a_known_generator_on_the_grid_of_the_study(study, mapper):
    maps, gland = mapper(study, "p"), study["gland"].as_tensor() > 0
    assert maps.keys() == GENERATOR_SCALES.keys()
    for modality, values in maps.items():
        assert values.shape == gland.shape
        torch.testing.assert_close(values.affine, study["gland"].affine)
        assert (values.as_tensor()[~gland] == 0).all()
        due = torch.tensor(0.25 * GENERATOR_SCALES[modality].width)
        torch.testing.assert_close(values.as_tensor()[gland], due.expand(int(gland.sum())), atol=1e-4, rtol=0)


def test_generators_of_another_folder(study, mapper, tmp_path):
    with pytest.raises(DataError, match="no generator of"):
        mapper.of(tmp_path / "none").look(study, "p")
    other = mapper.of(tmp_path)
    assert other.fingerprint == mapper.fingerprint
    assert other.learned_from("adc") == ["other"]


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_patient_of_the_generator_is_refused_with_a_label(mapper, labelled, control):
    mapper.control = control
    mapper.refuse_leak("adc", "somebody else", labelled)
    if labelled and not control:
        with pytest.raises(DataError, match="would leak"):
            mapper.refuse_leak("adc", "other", labelled, "c")
    else:
        with pytest.warns(UserWarning, match=r"case c.*would leak"):
            mapper.refuse_leak("adc", "other", labelled, "c")


@pytest.mark.parametrize("record", ["", "{}", '{"training_patients": "p", "generator": "x"}'])
def test_generator_of_which_nobody_knows_what_it_learned_from(mapper, record):
    (mapper.weights / "adc.json").write_text(record)
    with pytest.raises(DataError, match="is not known"):
        mapper.record("adc")


def test_reconstruction_leaves_the_outside_alone(study, mapper):
    image, gland = study["adc"].as_tensor(), study["gland"].as_tensor() > 0
    made = mapper.reconstruct(image, gland, "adc")
    assert torch.equal(made[~gland], image[~gland])
    difference = (image - made)[gland]
    torch.testing.assert_close(difference, torch.full_like(difference, 0.25 * GENERATOR_SCALES["adc"].width))
    assert mapper.invert(image, gland, "adc", [3]) is None
