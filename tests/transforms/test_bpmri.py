import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch

from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError
from monai_ext.transforms.bpmri import BpMRIPreprocessing
from monai_ext.transforms.grid import RestoreToReferenced

SMALL = {"img_size": (40, 40, 24), "resample_size": (80, 72, 24), "padding": 4}


def test_result(study):
    item = BpMRIPreprocessing(**SMALL)(study)
    assert item["image"].shape == (3, 40, 40, 24)
    assert item["image"].dtype == torch.float32
    assert item["label"].shape == (1, 40, 40, 24)
    assert item["label"].dtype == torch.uint8
    assert item["label"].unique().tolist() == [0, 1]
    assert item.keys() == {"id", "image", "label", "original_affine", "original_shape"}
    original = nibabel.load(study["t2w"])
    assert item["original_shape"].tolist() == list(original.shape)
    np.testing.assert_allclose(item["original_affine"].numpy(), original.affine, atol=1e-6)


def test_only_image_finds_the_siblings(study):
    full = BpMRIPreprocessing(**SMALL)(study)
    alone = BpMRIPreprocessing(**SMALL)({"image": study["t2w"], "label": study["label"]})
    assert torch.equal(full["image"], alone["image"])
    assert torch.equal(full["label"], alone["label"])
    assert alone["id"] == "case"


def test_stacked_file_equals_separate_files_on_one_grid(study, save, tmp_path):
    rng = np.random.default_rng(5)
    t2w = nibabel.load(study["t2w"]).get_fdata(dtype=np.float32)
    volumes = [t2w, *(rng.normal(mean, 9, t2w.shape).astype(np.float32) for mean in (1300, 60))]
    stack = save(tmp_path / "stack.nii.gz", np.stack(volumes, -1))
    paths = {key: save(tmp_path / f"x_{key}.nii.gz", v) for key, v in zip(("t2w", "adc", "hbv"), volumes)}
    prepare = BpMRIPreprocessing(**SMALL)
    stacked = prepare({"image": stack, "gland": study["gland"]})
    assert torch.equal(stacked["image"], prepare({**paths, "gland": study["gland"]})["image"])


def test_unlabelled_item_and_foreign_keys(study):
    label = study.pop("label")
    item = BpMRIPreprocessing(**SMALL)({**study, "result_extension": ".nii.gz", "fold": 3})
    assert "label" not in item
    assert item["fold"] == 3
    assert item["result_extension"] == ".nii.gz"
    assert BpMRIPreprocessing(**SMALL, with_label=False)({**study, "label": label})["label"] == label


def test_deterministic_picklable_and_fingerprinted(study):
    first, second = BpMRIPreprocessing(**SMALL), BpMRIPreprocessing(**SMALL)
    copy = pickle.loads(pickle.dumps(first))
    assert repr(first) == repr(second) == repr(copy)
    assert first.fingerprint == copy.fingerprint != BpMRIPreprocessing(**{**SMALL, "padding": 5}).fingerprint
    assert torch.equal(first(study)["image"], copy(study)["image"])


def test_measured_b_values_replace_high_b(study, tmp_path, save):
    affine = nibabel.load(study["adc"]).affine
    adc = np.random.default_rng(4).uniform(500, 2000, (40, 36, 12))
    s0 = np.random.default_rng(6).uniform(100, 900, (40, 36, 12))
    for b in (50, 1000, 1500):
        save(tmp_path / f"m{b}.nii.gz", (s0 * np.exp(-b * adc * 1e-6)).astype(np.float32), affine)
    common = {key: study[key] for key in ("t2w", "gland")}
    adc_file = save(tmp_path / "true_adc.nii.gz", adc.astype(np.float32), affine)
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    for key, path in common.items():
        common[key] = str(Path(path).rename(lonely / Path(path).name))
    prepare = BpMRIPreprocessing(**SMALL)
    given = prepare({**common, "adc": adc_file, "hbv": str(tmp_path / "m1500.nii.gz")})
    dwi = {"dwi_b50": str(tmp_path / "m50.nii.gz"), "dwi_b1000": str(tmp_path / "m1000.nii.gz")}
    torch.testing.assert_close(prepare({**common, **dwi})["image"], given["image"], atol=1e-3, rtol=1e-3)


def test_a_marker_returns_to_its_place(study):
    """Network grid and back, through collating and decollating, as an evaluator does it."""
    truth = read_volume(study["label"])
    loader = DataLoader(Dataset([study, study], BpMRIPreprocessing(**SMALL)), batch_size=2)
    batch = next(iter(loader))
    batch["pred"] = batch["label"].float()
    for item in decollate_batch(batch):
        restored = RestoreToReferenced("pred")(item)["pred"]
        assert restored.shape == truth.shape
        torch.testing.assert_close(restored.affine, truth.affine.double(), atol=1e-4, rtol=0)
        found, wanted = (v.as_tensor()[0].nonzero().double() for v in (restored > 0.5, truth))
        assert (found.mean(0) - wanted.mean(0)).abs().max() < 0.5
        assert (found.amin(0) - wanted.amin(0)).abs().max() <= 1
        assert (found.amax(0) - wanted.amax(0)).abs().max() <= 1


def test_the_image_carries_the_scans_own_grid_for_monai_label(study):
    """MONAI Label resizes a prediction to spatial_shape and writes it with original_affine, both of image.meta."""
    item = BpMRIPreprocessing(**SMALL)({"image": study["t2w"]})
    item["pred"] = MetaTensor(torch.rand(1, 40, 40, 24))
    restored = RestoreToReferenced("pred")(item)["pred"]
    assert restored.shape[1:] == tuple(item["image"].meta["spatial_shape"])
    assert torch.equal(restored.affine, item["image"].meta["original_affine"].double())


def test_order_of_axes_in_the_files_does_not_matter(study, tmp_path):
    expected = BpMRIPreprocessing(**SMALL)(study)
    for key in ("t2w", "gland", "label"):
        turned = nibabel.load(study[key]).as_reoriented([[2, 1], [0, -1], [1, 1]])
        study[key] = str(tmp_path / f"turned_{key}.nii.gz")
        nibabel.save(turned, study[key])
    item = BpMRIPreprocessing(**SMALL)(study)
    torch.testing.assert_close(item["image"].as_tensor(), expected["image"].as_tensor(), atol=1e-4, rtol=0)
    assert torch.equal(item["label"].as_tensor(), expected["label"].as_tensor())
    assert item["original_shape"].tolist() == list(turned.shape) != [80, 72, 12]
    restored = RestoreToReferenced("pred")({**item, "pred": item["label"].float()})["pred"]
    found, wanted = (v.nonzero().double() for v in (restored[0] > 0.5, torch.from_numpy(turned.get_fdata())))
    assert (found.mean(0) - wanted.mean(0)).abs().max() < 0.5


def test_errors_arrive_unwrapped(study, save):
    save(study["adc"], np.full((4, 4, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"case: .*case_adc.nii.gz: 64 voxels are NaN"):
        BpMRIPreprocessing(**SMALL)(study)


def test_isup_grades(study, save):
    grades = nibabel.load(study["label"]).get_fdata().astype(np.uint8)
    grades[grades > 0] = 1
    grades[30:34] *= 3
    save(study["label"], grades)
    everything, significant = (
        BpMRIPreprocessing(**SMALL, lesion_from=level)(study)["label"].sum().item() for level in (1, 2)
    )
    assert significant / everything == pytest.approx(0.5, abs=0.1)
    with pytest.raises(DataError, match=r"\[3.0\].*allowed are \[0, 1\]"):
        BpMRIPreprocessing(**SMALL, label_values=(0, 1))(study)


@pytest.mark.parametrize("case", ["ProstateX-0000", "ProstateX-0001"])
def test_real_study(real, case):
    masks = real / case / "masks_cc-by-nc"
    item = {"gland": masks / f"{case}_gland_ai.nii.gz", "label": masks / f"{case}_lesion_expert.nii.gz"}
    prepare = BpMRIPreprocessing()
    by_mha = prepare({"image": real / case / f"{case}_t2w.mha", **item})
    by_dicom = prepare({"t2w": real / case / "dicom" / "t2w", **item})
    assert torch.equal(by_mha["image"], by_dicom["image"])
    assert torch.equal(by_mha["label"], by_dicom["label"])
    assert torch.isfinite(by_mha["image"]).all()
    truth = read_volume(item["label"])
    voxels = truth.as_tensor()[0].nonzero().double()
    assert len(voxels) == (414 if case == "ProstateX-0000" else 0)
    to_crop = torch.linalg.solve(by_mha["image"].affine.double(), truth.affine.double())
    inside = voxels @ to_crop[:3, :3].T + to_crop[:3, 3]
    assert ((inside >= -0.5) & (inside <= torch.tensor([87.5, 87.5, 63.5]))).all()
    by_mha["pred"] = by_mha["label"].float()
    restored = RestoreToReferenced("pred")(by_mha)["pred"]
    assert (restored.affine - truth.affine).abs().max() < 1e-4
    overlap = 2 * ((restored > 0.5) & (truth > 0)).sum() / ((restored > 0.5).sum() + (truth > 0).sum()).clamp(min=1)
    assert overlap > 0.8 or case == "ProstateX-0001"
