from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_ext.handlers.prostate_report import ProstateReport
from monai_ext.transforms import DetectLesionsd


def test_lesions_and_volumes_of_each_case():
    gland = MetaTensor(torch.zeros(1, 10, 10, 5), affine=torch.diag(torch.tensor([-0.5, 0.5, 3.0, 1.0])))
    gland[:, 2:6, 2:6, 1:3] = 1
    lesions = [
        {"volume_ml": 0.4, "in_mask": True},
        {"volume_ml": 0.25, "in_mask": True},
        {"volume_ml": 9, "in_mask": False, "outside_gland": True},
    ]
    report = ProstateReport()

    def step(engine, batch):
        engine.state.batch = batch
        return [{"lesions": lesions, "case_score": 0.7}, {"lesions": [], "case_score": 0.0}]

    engine = Engine(step)
    report.attach(engine)
    engine.run([[{"id": "a", "gland": gland, "gland_source": "network"}, {}]])
    assert report.cases["a"] == {
        "case_score": 0.7,
        "lesions": lesions,
        "num_lesions_in_mask": 2,
        "lesion_volume_ml": 0.65,
        "num_lesions_outside_gland": 1,
        "gland_source": "network",
        "gland_volume_ml": 0.02,  # 32 voxels of 0.75 mm3
    }
    assert report.cases["1"]["num_lesions_in_mask"] == report.cases["1"]["lesion_volume_ml"] == 0
    assert "gland_volume_ml" not in report.cases["1"]


def test_report_of_what_is_detected():
    pytest.importorskip("picai_eval")
    affine = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])).double()
    probability = torch.full((1, 20, 20, 8), 0.05)
    probability[0, 4:9, 5:10, 2:5] = 0.75
    item = DetectLesionsd()({"lesion_probability": MetaTensor(probability, affine=affine)})
    report = ProstateReport()
    report(SimpleNamespace(state=SimpleNamespace(batch=[{"id": "c5"}], output=[item])))
    found = report.cases["c5"]
    assert found["case_score"] == 0.75
    assert found["num_lesions_in_mask"] == 1
    assert found["lesion_volume_ml"] == pytest.approx(5 * 5 * 3 * 3 / 1000)
