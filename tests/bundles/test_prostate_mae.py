"""The prostate MAE from real scans to masks on their grid, and the gland phase, through the command line."""

import json
import shutil
import warnings
from pathlib import Path

import highdicom
import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from running import ROOT, run_bundle

from monai_ext.data import load_datalist, phantom
from monai_ext.datalist import COMMANDS
from monai_ext.networks.nets import MAESegmenter
from monai_ext.transforms import BpMRIPreprocessing

CONFIGS = ROOT / "bundles/prostate_mae/configs"
CASES = ("ProstateX-0000", "ProstateX-0001")
ENCODER = {"embed_dim": 48, "depth": 2, "num_heads": 3}
NETS = "monai_ext.networks.nets"
SMALL = {  # the method with a small encoder and few epochs
    "network_def": {"_target_": f"{NETS}.MAESegmenter", "in_channels": 3, "num_classes": 2, "img_size": 88, **ENCODER},
    "max_epochs": 3,
    "frozen_epochs": 1,
    "pretrain": {
        "max_epochs": 3,
        "network_def": {
            "_target_": f"{NETS}.MaskedAutoencoder",
            "encoder": {"_target_": f"{NETS}.MAEEncoder", **ENCODER},
            "decoder_dim": 24,
            "decoder_depth": 1,
            "decoder_num_heads": 3,
        },
    },
}


@pytest.fixture(scope="module")
def scans(real_data):
    return real_data("prostatex_bpmri")


@pytest.fixture(scope="module")
def datalists(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("datalists")
    for name in ("mha", "dicom"):
        COMMANDS["prostatex"](str(scans), str(folder / f"{name}.json"), dicom=name == "dicom")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Overlay of a small network, and untrained weights of it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.json").write_text(json.dumps(SMALL))
    torch.manual_seed(0)
    torch.save(MAESegmenter(**ENCODER).state_dict(), folder / "model.pt")
    return folder


def infer(small, datalist, dataset_dir, output, model, check=True, **overrides):
    items = f"$monai_ext.data.load_datalist({str(datalist)!r}, {str(dataset_dir)!r})"
    files = [CONFIGS / "inference.json", small / "small.json"]
    where = {"dataset_dir": dataset_dir, "datalist": items, "output_dir": output, "model": model}
    return run_bundle("inference", *files, cwd=ROOT, check=check, **where, **overrides)


def output(folder, case, kind):
    return folder / case / f"{case}_{kind}.nii.gz"


def assert_same_grid(one, other):
    """Both files, read by ITK, have equal numbers of voxels, and corners within 1e-4 mm of each other."""
    images = [itk.imread(str(path)) for path in (one, other)]
    shape = itk.size(images[0])
    assert tuple(shape) == tuple(itk.size(images[1]))
    for corner in np.ndindex(2, 2, 2):
        index = [int(c * (n - 1)) for c, n in zip(corner, shape)]
        places = [np.array(image.TransformIndexToPhysicalPoint(index)) for image in images]
        assert np.abs(places[0] - places[1]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mha", "dicom"])
def test_real_scans_through_all_phases(scans, datalists, small, tmp_path, form):
    data = {"dataset_dir": scans, "datalist": datalists / f"{form}.json", "cache_dir": tmp_path / "cache"}
    model = {"model": tmp_path / "model.pt"}
    training = {"output_dir": tmp_path / "train", "pretrained": tmp_path / "pretrained.pt", "val_fold": 1}
    pretraining = {"pretrain#output_dir": tmp_path / "pretrain"}
    files = [CONFIGS / "train.json", small / "small.json"]
    run_bundle("training", *files, cwd=ROOT, **data, **model, **training, **pretraining)
    for phase, items in (("pretrain", 64), ("train", 14)):  # all slices; 7 with lesion and as many without
        report = json.loads((tmp_path / phase / "report.json").read_text())
        assert report["epochs"] == 3
        assert report["data"]["train"] == {"items": items, "cases": 1}
    assert (tmp_path / "pretrain/reconstruction.png").stat().st_size > 10_000

    evaluation = {"section": "training", "output_dir": tmp_path / "evaluate", "allow_seen": True}
    run_bundle("evaluating", CONFIGS / "evaluate.json", small / "small.json", cwd=ROOT, **data, **model, **evaluation)
    metrics = json.loads((tmp_path / "evaluate/report.json").read_text())["metrics"]
    assert metrics["dice_lesion_volumes"]["n"] == 1  # ProstateX-0001 has no lesion
    drawn = [np.asarray(nib.load(next(scans.glob(f"{case}/*/*_lesion_expert.nii.gz"))).dataobj) > 0 for case in CASES]
    assert metrics["dice_all_slices"]["n"] == sum(mask.shape[2] for mask in drawn)  # those of the scans
    assert metrics["dice_lesion_slices"]["n"] == sum(int(mask.any((0, 1)).sum()) for mask in drawn)

    infer(small, data["datalist"], scans, tmp_path / "out", **model)
    for case in CASES:
        for kind in ("seg", "probability"):
            assert_same_grid(output(tmp_path / "out", case, kind), scans / case / f"{case}_t2w.mha")
        assert (tmp_path / f"out/preview/{case}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_mha_and_dicom_give_the_same_probabilities_on_the_grid_of_t2w(scans, datalists, small, tmp_path):
    for form in ("mha", "dicom"):
        segmentation = {"amp": False, "dicom_seg": form == "dicom"}
        infer(small, datalists / f"{form}.json", scans, tmp_path / form, small / "model.pt", **segmentation)
    for case in CASES:
        maps = [output(tmp_path / form, case, "probability") for form in ("mha", "dicom")]
        for path in (*maps, output(tmp_path / "mha", case, "seg"), output(tmp_path / "dicom", case, "seg")):
            assert_same_grid(path, scans / case / f"{case}_t2w.mha")
        # The files may store the axes in another order: compare as ITK places the voxels.
        one, other = (itk.array_from_image(itk.imread(str(path))) for path in maps)
        assert np.ptp(one) > 0.01
        np.testing.assert_allclose(one, other, atol=1e-3)
        found = highdicom.seg.segread(tmp_path / f"dicom/{case}/{case}_seg.dcm")
        mask = nib.load(output(tmp_path / "dicom", case, "seg"))
        assert found.pixel_array.sum() == np.asarray(mask.dataobj).sum()
        assert found.get_segment_description(1).segment_label == "lesion"


def test_crop_holds_the_whole_lesion(scans, datalists):
    item = load_datalist(datalists / "mha.json", scans)[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lies outside the gland's box")
        result = BpMRIPreprocessing()(item)
    label = nib.load(item["label"])
    world = nib.affines.apply_affine(label.affine, np.argwhere(np.asarray(label.dataobj) > 0))
    assert len(world) == 414
    inside = nib.affines.apply_affine(np.linalg.inv(result["image"].affine.numpy()), world)
    assert (inside > -0.5).all()
    assert (inside < np.array(result["image"].shape[1:]) - 0.5).all()
    volume = np.abs(np.linalg.det(result["label"].affine.numpy()[:3, :3])) * int(result["label"].sum())
    # 6 mm of slices become 7 slices of 0.9 mm, and the outline is rounded to pixels twice.
    assert volume == pytest.approx(414 * np.abs(np.linalg.det(label.affine[:3, :3])), rel=0.15)


@pytest.fixture
def without_gland(tmp_path):
    """One case of the phantom without a gland mask."""
    source = Path(phantom("bpmri"))
    case = json.loads((source / "datalist.json").read_text())["testing"][0]
    (tmp_path / "data").mkdir()
    files = {key: Path(shutil.copy(source / case[key], tmp_path / "data")).name for key in ("t2w", "adc", "hbv")}
    (tmp_path / "data/datalist.json").write_text(json.dumps({"training": [{"id": "case", **files}]}))
    return tmp_path / "data"


def test_case_without_gland_names_the_remedy(small, without_gland, tmp_path):
    weights = {"gland_network#weights": tmp_path / "gland.pt"}
    datalist = without_gland / "datalist.json"
    run = infer(small, datalist, without_gland, tmp_path / "out", small / "model.pt", check=False, **weights)
    assert run.returncode == 3
    assert "gland.pt: there are no weights of the gland network. Give a gland mask with every case" in run.stderr
    assert "train the gland phase" in run.stderr
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.slow
def test_gland_phase_finds_the_gland_of_a_case_without_mask(small, without_gland, tmp_path):
    weights, size = tmp_path / "gland.pt", [48, 48, 16]
    where = {"gland_weights": weights, "output_dir": tmp_path / "gland", "cache_dir": tmp_path / "cache"}
    run_bundle(
        "gland", CONFIGS / "gland.json", cwd=ROOT, gland_size=size, max_epochs=30, batch_size=1, lr=0.005, **where
    )
    assert json.loads((tmp_path / "gland/report.json").read_text())["best"]["val_gland_dice"] > 0.5
    finder = {"gland_network#weights": weights, "gland_network#size": size}
    infer(small, without_gland / "datalist.json", without_gland, tmp_path / "out", small / "model.pt", **finder)
    (probability,) = (tmp_path / "out").rglob("*_probability.nii.gz")
    t2w = next(without_gland.glob("*_t2w.nii.gz"))
    assert_same_grid(probability, t2w)
    assert 0 < (np.asarray(nib.load(probability).dataobj) > 0).mean() < 0.9  # the crop, not the whole field of view
