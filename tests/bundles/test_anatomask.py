"""AnatoMask on a real CT with 61 organs: trained, and used on DICOM, NIfTI and 3 mm, through the command line."""

import json
import re

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from running import ROOT, run_bundle

from monai_ext.data.io.volume import read_volume
from monai_ext.datalist.totalsegmentator_classes import CLASSES_V1, CLASSES_V2
from monai_ext.networks.nets import STUNet

CONFIGS = ROOT / "bundles/anatomask/configs"
SMALL = {  # coarse volumes and a small network
    "organs": CLASSES_V2,
    "model_size": [8, 1],
    "spacing": [6, 6, 6],
    "crop_size": [48, 48, 48],
    "mirror": [],
    "max_epochs": 3,
    "num_crops": 4,
    "val_interval": 3,
    "pretrain": {"max_epochs": 2, "num_crops": 2, "batch_size": 2},
}


@pytest.fixture(scope="module")
def scans(real_data):
    return real_data("ct_multiorgan")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Overlay of a small network, and untrained weights of it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.json").write_text(json.dumps(SMALL))
    torch.manual_seed(0)
    network = STUNet(1, 1 + len(CLASSES_V2), SMALL["model_size"], deep_supervision=True)
    torch.save(network.state_dict(), folder / "model.pt")
    return folder


def infer(small, items, output, model, check=True):
    files = [CONFIGS / "inference.json", small / "small.json"]
    return run_bundle("inference", *files, cwd=ROOT, check=check, datalist=items, output_dir=output, model=model)


def assert_same_grid(one, other):
    """Both images, read by ITK, have equal shapes, and corners within 1e-3 mm of each other."""
    shape = itk.size(one)
    assert tuple(shape) == tuple(itk.size(other))
    for corner in np.ndindex(2, 2, 2):
        index = [int(c * (n - 1)) for c, n in zip(corner, shape)]
        places = [np.array(image.TransformIndexToPhysicalPoint(index)) for image in (one, other)]
        assert np.abs(places[0] - places[1]).max() < 1e-3


def read_series(folder):
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    return itk.imread(list(names.GetFileNames(names.GetSeriesUIDs()[0])))


@pytest.mark.slow
def test_real_ct_with_61_organs_through_all_phases(scans, small, tmp_path):
    case = {"image": "example_ct.nii.gz", "label": "example_seg_fast_force_split.nii.gz"}
    assert len(np.unique(nib.load(scans / case["label"]).dataobj)) == 62
    # One scan is all there is: the same one to train and to validate on, for this test of running only.
    items = [{"id": name, "fold": fold, **case} for fold, name in enumerate(("validation", "training"))]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": items}))
    data = {"dataset_dir": scans, "datalist": tmp_path / "datalist.json", "cache_dir": tmp_path / "cache"}
    model = {"model": tmp_path / "model.pt"}
    phases = {"pretrained": tmp_path / "pretrained.pt", "pretrain#output_dir": tmp_path / "pretrain"}
    files = [CONFIGS / "train.json", small / "small.json"]
    run_bundle("training", *files, cwd=ROOT, output_dir=tmp_path / "train", **data, **model, **phases)
    for phase, epochs in (("pretrain", 2), ("train", 3)):
        report = json.loads((tmp_path / phase / "report.json").read_text())
        assert report["epochs"] == epochs
    masks = json.loads((tmp_path / "pretrain/masks.json").read_text())
    assert masks["metrics"]["anatomy_in_all_patches"]["mean"] > 0.05

    where = {"section": "training", "folds": 0, "output_dir": tmp_path / "evaluate"}
    run_bundle("evaluating", CONFIGS / "evaluate.json", small / "small.json", cwd=ROOT, **data, **model, **where)
    metrics = json.loads((tmp_path / "evaluate/report.json").read_text())["metrics"]
    present = [name for name in metrics if name.startswith("dice_") and metrics[name]["n"] == 1]
    assert 55 <= len(present) <= 61  # at 6 mm the smallest may vanish
    assert metrics["dice_liver"]["n"] == metrics["nsd_liver"]["n"] == 1
    assert (tmp_path / "evaluate/preview/validation.png").stat().st_size > 20_000

    infer(small, f"[{{'image': '{scans / 'example_ct.nii.gz'}'}}]", tmp_path / "out", model["model"])
    found = itk.imread(str(tmp_path / "out/example_ct/example_ct_seg.nii.gz"))
    assert_same_grid(found, itk.imread(str(scans / "example_ct.nii.gz")))


@pytest.mark.slow
def test_dicom_and_nifti_of_one_scan_give_the_same_labels_on_its_grid(scans, small, tmp_path):
    series = scans / "example_ct_dicom"
    image = read_volume(series)
    nib.save(nib.Nifti1Image(image[0].numpy(), image.affine.numpy()), tmp_path / "scan.nii.gz")
    items = [{"id": "dicom", "image": str(series)}, {"id": "nifti", "image": str(tmp_path / "scan.nii.gz")}]
    infer(small, repr(items), tmp_path / "out", small / "model.pt")
    dicom, nifti = (itk.imread(str(tmp_path / f"out/{name}/{name}_seg.nii.gz")) for name in ("dicom", "nifti"))
    assert_same_grid(dicom, read_series(series))
    # The files may store the axes in another order: compare where ITK places the voxels.
    shape, values = itk.size(dicom), [itk.array_view_from_image(m) for m in (dicom, nifti)]
    rng, same, seen = np.random.default_rng(0), 0, set()
    for _ in range(3000):
        index = [int(rng.integers(n)) for n in shape]
        other = nifti.TransformPhysicalPointToIndex(dicom.TransformIndexToPhysicalPoint(index))
        one, two = values[0][tuple(index[::-1])], values[1][tuple(list(other)[::-1])]
        same += int(one == two)
        seen.add(int(one))
    assert same / 3000 > 0.995
    assert len(seen) > 3


@pytest.mark.parametrize("size", ["B", "L"])
def test_paper_network_and_masks_of_the_configs(size):
    """Parameters with 105 classes, and 235 of 392 patches hidden, 117 of them chosen at the end."""
    train, pretrain = ConfigParser(), ConfigParser()
    overlays = ["variants/totalsegmentator.json"] + (["variants/large.json"] if size == "L" else [])
    train.read_config([str(CONFIGS / file) for file in ("train.json", *overlays)])
    assert train["organs"] == CLASSES_V1
    with torch.device("meta"):
        network = train.get_parsed_content("network_def")
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert round(millions, 2) == {"B": 58.26, "L": 440.30}[size]
    pretrain.read_config(str(CONFIGS / "pretrain.json"))
    grid = [c // p for c, p in zip(pretrain["crop_size"], pretrain.get_parsed_content("patch_size"))]
    pretrain["size"] = [1, 1]
    masker = pretrain.get_parsed_content("masker")
    assert np.prod(grid) == 392
    assert [masker.counts(392, epoch / 1000) for epoch in (5, 250, 499, 999)] == [
        (0, 235),
        (29, 235),
        (58, 235),
        (117, 235),
    ]


def test_published_fine_tuning_is_an_overlay():
    """STUNetTrainer of the published code: AdamW 1e-4, weight decay 1e-5, eps 1e-4, a cosine from the first step on."""
    config = ConfigParser()
    config.read_config([CONFIGS / "train.json", CONFIGS / "finetune_published.json"])
    config.update({"model_size": [4, 1], "device": torch.device("cpu")})
    optimizer = config.get_parsed_content("optimizer")
    assert type(optimizer) is torch.optim.AdamW
    found = optimizer.param_groups[0]
    assert (found["lr"], found["weight_decay"], found["eps"]) == (1e-4, 1e-5, 1e-4)
    assert (config.get_parsed_content("lr_scheduler").warmup, config["lr_scheduler"]["shape"]) == (0, "cosine")


def test_channel_def_names_the_organs_of_the_configs():
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    named = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    for file in ("train.json", "evaluate.json", "inference.json"):
        organs = json.loads((CONFIGS / file).read_text())["organs"]
        assert named == {str(i): name for i, name in enumerate(["background", *organs])}


def test_organs_are_those_of_the_phantom():
    from monai_ext.data.phantoms import CT_ORGANS

    words = [set(re.split(r"[ _]", name.rstrip("s"))) for name in CT_ORGANS.values()]
    organs = json.loads((CONFIGS / "train.json").read_text())["organs"]
    assert words == [set(name.rstrip("s").split()) for name in organs]
