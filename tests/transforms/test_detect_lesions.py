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
    assert (first["slice"], second["slice"]) == (3, 6)
    assert "in_gland" not in first
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


def test_small_lesions_stay_in_the_list_and_not_in_the_mask():
    probability = torch.zeros(1, 30, 30, 10)
    probability[0, 2:6, 2:6, 2:4], probability[0, 10:13, 10:13, 5:7] = 0.8, 0.9  # 32 and 18 voxels of 10 mm3
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.5, 1.0])).double()
    item = {"lesion_probability": MetaTensor(probability, affine=affine)}
    for options, volumes in [
        ({}, [0.18, 0.32]),
        ({"min_ml": 0.2}, [0.32]),
        ({"largest": True}, [0.32]),
        ({"largest": True, "min_confidence": 0.85}, [0.18]),
        ({"min_ml": 0.5}, []),
    ]:
        found = DetectLesionsd(**options)(item)
        assert [lesion["volume_ml"] for lesion in found["lesions"]] == [0.18, 0.32]
        assert [lesion["volume_ml"] for lesion in found["lesions"] if lesion["in_mask"]] == volumes
        assert int(found["pred"].sum()) == round(sum(volumes) / 0.01)


def test_candidates_outside_the_gland_are_flagged_and_zones_named():
    probability = torch.zeros(1, 40, 40, 8)
    places = {0.9: (4, 4), 0.7: (12, 12), 0.5: (30, 30)}
    for value, (x, y) in places.items():
        probability[0, x : x + 4, y : y + 4, 2:4] = value
    affine = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])).double()
    gland = torch.zeros(1, 20, 20, 8)  # on a coarser grid
    gland[0, 1:6, 1:6] = 2
    gland[0, 6:10, 6:10] = 1
    coarse = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])).double()
    item = {"lesion_probability": MetaTensor(probability, affine=affine), "gland": MetaTensor(gland, affine=coarse)}
    inner, border, outer = DetectLesionsd()(item)["lesions"]
    assert (inner["in_gland"], inner["outside_gland"], inner["zone"]) == (1.0, False, "TZ")
    assert (border["outside_gland"], border["zone"]) == (False, "PZ")
    assert (outer["in_gland"], outer["outside_gland"]) == (0.0, True)
    assert "zone" not in outer
    item["gland"] = MetaTensor((gland > 0).float(), affine=coarse)
    assert "zone" not in DetectLesionsd()(item)["lesions"][0]
