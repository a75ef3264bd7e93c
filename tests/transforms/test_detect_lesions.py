import torch
from monai.data import MetaTensor

from monai_ext.transforms import DetectLesionsd


def test_lesions_are_listed_in_mm():
    affine = torch.diag(torch.tensor([-0.5, 0.5, 3.0, 1.0])).double()
    affine[:3, 3] = torch.tensor([40.0, -20.0, 7.0])
    probability = torch.zeros(1, 30, 30, 10)
    probability[0, 4:8, 4:8, 2:4] = 0.9  # 32 voxels of 0.75 mm3
    probability[0, 20:23, 20:23, 5:7] = 0.3
    item = DetectLesionsd(min_confidence=0.5)({"lesion_probability": MetaTensor(probability, affine=affine)})
    first, second = item["lesions"]
    assert (first["confidence"], first["voxels"], first["volume_ml"], first["in_mask"]) == (0.9, 32, 0.024, True)
    assert first["center_mm"] == [40 - 0.5 * 5.5, -20 + 0.5 * 5.5, 7 + 3 * 2.5]
    assert (second["confidence"], second["in_mask"]) == (0.3, False)
    assert item["case_score"] == 0.9
    assert item["pred"].dtype == torch.uint8
    assert torch.equal(item["pred"].as_tensor() > 0, probability == 0.9)
    assert torch.equal(item["detection"].as_tensor(), probability)
    assert torch.equal(item["pred"].affine, affine)


def test_nothing_found():
    item = DetectLesionsd()({"lesion_probability": MetaTensor(torch.zeros(1, 8, 8, 8))})
    assert item["lesions"] == []
    assert item["case_score"] == 0.0
    assert not item["pred"].any()
