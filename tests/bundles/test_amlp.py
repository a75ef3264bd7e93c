"""AMLP on real scans through the command line, and what its reports say."""

import json

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from running import ROOT, run_bundle

CONFIGS = ROOT / "bundles/amlp/configs"
SMALL = {  # the method with a small network, on coarse slices, for a few epochs
    "features": [8, 16, 32, 64],
    "max_epochs": 24,
    "batch_size": 8,
    "lr": 0.01,
    "pretrain": {"max_epochs": 2, "batch_size": 16, "lr": 0.002},
}


def overlay(folder, **more):
    path = folder / "small.json"
    path.write_text(json.dumps(SMALL | more))
    return path


def parsed(phase, *variants, **settings):
    config = ConfigParser()
    config.read_config([CONFIGS / f"{phase}.json", *(CONFIGS / f"variants/{name}.json" for name in variants)])
    config.update(settings)
    return config


@pytest.mark.parametrize(
    ("variants", "fraction", "size"),
    [([], 0.05, 56), ([], 0.1, 70), ([], 1.0, 56), (["hecktor_ct"], 0.05, 31), (["hecktor_pet"], 0.1, 90)],
)
def test_batches_are_those_of_the_paper(variants, fraction, size):
    """4.4: 56 and 70 slices for BraTS, 31 and 90 for HECKTOR, with labels of 5 and 10 %."""
    assert parsed("train", *variants, label_fraction=fraction).get_parsed_content("batch_size") == size
    assert parsed("train", "amlp_10").get_parsed_content("batch_size") == 70


@pytest.mark.parametrize("share", ["5", "10"])
def test_rows_have_the_losses_and_figures_of_the_paper(share):
    """Table 3: the consistency loss needs the selection of patches, so rows without it leave it out (4.8.3)."""
    for file in (CONFIGS / "variants").glob(f"*_{share}.json"):
        row = json.loads(file.read_text())
        if "Table 3" not in row["_desc_"] or "supervised" in file.stem:
            continue
        pretrain = json.loads((CONFIGS / "pretrain.json").read_text()) | row.get("pretrain", {})
        selects = "mps" in file.stem
        assert (pretrain["order"] != "random") == selects
        assert (pretrain["consistency_weight"] > 0) == ("crcl" in file.stem and selects)
        assert set(row["_paper_"]) == {"flair", "t1", "t1ce", "t2", "ct", "pet"}
        if file.stem == "amr_10":
            assert row["_paper_"]["t1"] == {"dice": 0.3469, "hausdorff95_mm": 39.9634}
        if file.stem == "mps_5":
            assert row["_paper_"]["ct"] == {"dice": 0.2679, "hausdorff95_mm": 60.0462}


@pytest.mark.slow
def test_real_pet_slices_train_and_infer(real_data, tmp_path):
    """Six sarcomas: PET with labels on its grid, which is the CT's too."""
    root = real_data("sts_petct")
    names = {"ct": "CTres", "pet": "SUV", "label": "SEG"}
    cases = [
        {"id": case, "fold": int(i < 2)} | {key: f"{case}/{name}.nii.gz" for key, name in names.items()}
        for i, case in enumerate(sorted(p.name for p in root.glob("STS_*"))[:6])
    ]
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"training": cases}))
    files = [CONFIGS / "variants/hecktor_pet.json", overlay(tmp_path, img_size=[64, 64], spacing=[4.0, 4.0, 0.0])]
    where = {"dataset_dir": root, "model": tmp_path / "model.pt"}
    data = {"datalist": datalist, "cache_dir": tmp_path / "cache"}
    run_bundle(
        *("training", CONFIGS / "train.json", *files),
        **{"cwd": ROOT, "val_fold": 1, "output_dir": tmp_path / "train", "pretrained": tmp_path / "pretrained.pt"},
        **{"pretrain#output_dir": tmp_path / "pretrain", "label_fraction": 0.75, **where, **data},
    )
    report = json.loads((tmp_path / "train/report.json").read_text())
    assert len(report["patients"]["train"]) == report["data"]["train"]["cases"] == 3
    assert set(report["patients"]["train"]) < {case["id"] for case in cases[2:]}
    pretraining = json.loads((tmp_path / "pretrain/report.json").read_text())
    assert pretraining["data"]["train"]["cases"] == 4
    recall, chance = (pretraining["metrics"][f"lesion_recall{end}"]["mean"] for end in ("", "_by_chance"))
    assert chance == 0.25
    assert recall > 1.5 * chance  # tumors take up the tracer
    assert (tmp_path / "pretrain/reconstruction.png").stat().st_size > 10_000

    options = {**where, **data, "section": "training", "folds": 1, "output_dir": tmp_path / "evaluate"}
    run_bundle("evaluating", CONFIGS / "evaluate.json", *files, cwd=ROOT, **options)
    metrics = json.loads((tmp_path / "evaluate/report.json").read_text())["metrics"]
    assert metrics["dice"]["n"] == 2
    assert metrics["dice"]["mean"] > 0.3

    items = [{key: str(root / case[key]) for key in ("ct", "pet")} | {"id": case["id"]} for case in cases[:2]]
    items[1].pop("pet")  # found beside the CT
    run_bundle(
        "inference", CONFIGS / "inference.json", *files, cwd=ROOT, **where, datalist=items, output_dir=tmp_path / "o"
    )
    for case in cases[:2]:
        ct = nib.load(root / case["ct"])
        for kind in ("seg", "probability"):
            found = nib.load(tmp_path / f"o/{case['id']}/{case['id']}_{kind}.nii.gz")
            assert found.shape == ct.shape
            assert np.abs(found.affine - ct.affine).max() < 1e-4
        probability = found.get_fdata()
        assert 0 <= probability.min() < 0.1
        assert 0.9 < probability.max() <= 1
        assert (tmp_path / f"o/preview/{case['id']}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_real_flair_out_of_a_stack(real_data, tmp_path):
    """Two gliomas of which T1, FLAIR and T1ce are one 4-D file; the overlay of the README's table."""
    root = real_data("lgg_2d")
    names = sorted(p.name for p in (root / "imagesTr").glob("*.nii.gz"))[:3]
    cases = [{"image": f"imagesTr/{n}", "label": f"labelsTr/{n}", "fold": i // 2} for i, n in enumerate(names)]
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"training": cases}))
    run_bundle(
        *(
            "training",
            CONFIGS / "train.json",
            CONFIGS / "variants/lgg.json",
            CONFIGS / "variants/smaller_cluster_10.json",
        ),
        **{"cwd": ROOT, "val_fold": 1, "output_dir": tmp_path / "train", "pretrained": tmp_path / "pretrained.pt"},
        **{"dataset_dir": root, "datalist": datalist, "cache_dir": tmp_path / "cache", "model": tmp_path / "model.pt"},
        **{"pretrain#output_dir": tmp_path / "pretrain", "pretrain#max_epochs": 1, "max_epochs": 1},
    )
    pretraining = json.loads((tmp_path / "pretrain/report.json").read_text())
    assert pretraining["data"]["train"]["cases"] == 3  # all patients' images; labels of one
    report = json.loads((tmp_path / "train/report.json").read_text())
    assert len(report["patients"]["train"]) == 1


def test_mask_schedule_of_the_config_is_the_papers():
    """eq. 9: a quarter of the 256 patches in the first epoch, 235 (tau = 10) in the last."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "pretrain.json"))
    parser["bundle_root"] = str(CONFIGS.parent)
    masker = parser.get_parsed_content("masker")
    epochs = parser["max_epochs"]
    counts = [masker.num_masked(256, (epoch - 1) / epochs) for epoch in range(1, epochs + 1)]
    expected = [int(256 * min(0.25 + np.log(epoch) / 10, 0.95) + 1e-6) for epoch in range(1, epochs + 1)]
    assert counts[0] == 64
    assert abs(counts[-1] - 235) <= 1
    assert max(abs(a - b) for a, b in zip(counts, expected)) <= 1  # .918 is rounded
    assert masker.clustering is parser.get_parsed_content("loss").clustering  # computed once per step


@pytest.mark.parametrize("file", sorted((CONFIGS / "variants").glob("*_*.json")), ids=lambda path: path.stem)
def test_rows_give_the_pretraining_that_they_name(file):
    """The pretraining knows all settings that a row hands to it, and the name of the row holds its fraction."""
    row = json.loads(file.read_text())
    for phase in row.get("phases", ["pretrain"]):
        known = json.loads((CONFIGS / f"{phase}.json").read_text()).keys()
        assert row.get(phase, {}).keys() <= known
    assert not {"pretrain", "contrastive"} & row.keys() - set(row.get("phases", ["pretrain"]))
    percent = file.stem.rsplit("_", 1)[1]
    if percent.isdigit():
        assert row["label_fraction"] == int(percent) / 100
