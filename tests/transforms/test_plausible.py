import re

import itk
import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.transforms.plausible import implausible, misnamed

RNG = np.random.default_rng(0)
CT = torch.tensor(RNG.uniform(-1000, 1500, 5000))
SUV = torch.tensor(RNG.exponential(1.0, 5000))
MR = torch.tensor(RNG.uniform(0, 800, 5000))


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("ct", CT, ""),
        ("ct", CT + 1024, "hold no air"),
        ("ct", SUV, "hold no air"),
        ("pet", SUV, ""),
        ("pet", CT, "is it a CT\\?"),
        ("pet", SUV * 5000, "activity in Bq/ml"),
        ("pet", SUV / 1000, "taken up"),
        ("t2w", MR, ""),
        ("t2w", MR - 4, ""),
        ("t2w", CT, "a magnitude has none"),
        ("hbv", (MR - MR.mean()) / MR.std(), "normalized before"),
        ("image", CT, ""),
        ("ct", torch.full((8,), 3.0), ""),
    ],
)
def test_ranges(key, values, said):
    found = implausible(key, values)
    assert bool(found) == bool(said)
    assert re.search(said, found)


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("t2w", "case_t2w.nii.gz", ""),
        ("t2w", "case_adc.nii.gz", "adc"),
        ("adc", "case_t2w.mha", "t2w"),
        ("adc", "10005_1000005_hbv.mha", "hbv"),
        ("t2w", "10005.nii.gz", ""),
        ("adc", "adclass.nii.gz", ""),  # a word, not a part of one
        ("t2w", "t2w_adc_protocol.nii", ""),
    ],
)
def test_names(key, name, found):
    assert misnamed(key, f"/data/adc/{name}", ("t2w", "adc", "hbv")) == found


def test_real_scans_are_plausible_and_swapped_ones_are_not(real):
    root = real.parent
    volumes = {}
    for case in ("STS_001", "STS_002"):
        for key, name in (("ct", "CTres"), ("pet", "SUV")):
            volumes[key] = torch.tensor(np.asarray(nib.load(root / "sts_petct" / case / f"{name}.nii.gz").dataobj))
            assert implausible(key, volumes[key].float()) == ""
        assert implausible("ct", volumes["pet"].float())
        assert implausible("pet", volumes["ct"].float())
    for case in ("ProstateX-0000", "ProstateX-0001"):
        for key in ("t2w", "adc", "hbv"):
            array = itk.array_from_image(itk.imread(str(real / case / f"{case}_{key}.mha")))
            assert implausible(key, torch.tensor(array.astype(np.float32))) == ""
            assert implausible("ct", torch.tensor(array.astype(np.float32)))
