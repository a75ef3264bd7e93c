"""Multi-organ CT, PET/CT, the Decathlon and your own scans: on small trees, and on real ones where they are at hand."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.amos22 import amos22
from monai_ext.datalist.autopet import autopet
from monai_ext.datalist.flare22 import flare22
from monai_ext.datalist.longitudinal_ct import longitudinal_ct
from monai_ext.datalist.msd import msd
from monai_ext.datalist.pairs import pairs
from monai_ext.datalist.totalsegmentator import totalsegmentator
from monai_ext.datalist.totalsegmentator_classes import CLASSES_V1, CLASSES_V2
from monai_ext.errors import ConfigError, DataError


def image(path, voxels=(), shape=(4, 6, 5), shift=0.0):
    """An image with values in some voxels of a line: ``voxels[i]`` at (1, 2, i)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.int16)
    if len(voxels):
        array[1, 2, : len(voxels)] = voxels
    affine = np.diag([-1.0, -1, 1, 1])
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image(array, affine), path)


def converted(convert, root, **options):
    out = root / "datalist.json"
    report = convert(str(root), str(out), **options)
    return json.loads(out.read_text()), report


def folds(content, section="training"):
    return {item["id"]: item.get("fold") for item in content[section]}


# TotalSegmentator

ORGANS = ["liver", "spleen", "aorta"]


@pytest.fixture
def total(tmp_path):
    """Five cases: the masks of each lie in other voxels; the last one overlaps liver and aorta."""
    for number in range(5):
        folder = tmp_path / f"s{number:04d}"
        image(folder / "ct.nii.gz", [40] * 5)
        for place, organ in enumerate(ORGANS):
            image(folder / "segmentations" / f"{organ}.nii.gz", np.eye(5)[place] + (number == 4) * np.eye(5)[0])
    rows = [
        "image_id;age;split",
        *(f"s{n:04d};60;{s}" for n, s in enumerate(["train", "train", "val", "test", "test"])),
    ]
    (tmp_path / "meta.csv").write_text("\n".join(rows))
    return tmp_path


def test_totalsegmentator_combines_masks_in_the_order_asked_for(total):
    content, _ = converted(totalsegmentator, total, organs="spleen,liver,aorta")
    assert content["labels"] == {"1": "spleen", "2": "liver", "3": "aorta"}
    assert folds(content) == {"s0000": 1, "s0001": 1, "s0002": 0}
    assert folds(content, "testing") == {"s0003": None, "s0004": None}
    label = nib.load(total / content["training"][0]["label"])
    assert label.get_data_dtype() == np.uint8
    assert np.asarray(label.dataobj)[1, 2].tolist() == [2, 1, 3, 0, 0]
    np.testing.assert_array_equal(label.affine, nib.load(total / "s0000/ct.nii.gz").affine)
    last = nib.load(total / content["testing"][1]["label"])
    assert np.asarray(last.dataobj)[1, 2].tolist() == [3, 1, 3, 0, 0]  # the later structure lies over the earlier one
    keys = ["image", "label"]
    assert len(load_datalist(total / "datalist.json", total, ["training", "testing"], required_keys=keys)) == 5


def test_totalsegmentator_takes_organs_as_fire_parses_them_and_keeps_labels_of_other_choices(total):
    first, _ = converted(totalsegmentator, total, organs=("liver", "spleen"))
    second, _ = converted(totalsegmentator, total, organs=["aorta"])
    labels = [Path(content["training"][0]["label"]) for content in (first, second)]
    assert labels[0].parent != labels[1].parent
    assert all((total / label).exists() for label in labels)


def test_totalsegmentator_writes_a_label_once_and_again_when_a_mask_changed(total):
    content, _ = converted(totalsegmentator, total, organs=ORGANS)
    file = total / content["training"][0]["label"]
    os.utime(file, (2e9, 2e9))
    converted(totalsegmentator, total, organs=ORGANS)
    assert file.stat().st_mtime == 2e9
    os.utime(file, (1e9, 1e9))
    converted(totalsegmentator, total, organs=ORGANS)
    assert file.stat().st_mtime > 1e9
    assert [path for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_totalsegmentator_names_every_problem_at_once(total):
    (total / "s0000/segmentations/liver.nii.gz").unlink()
    image(total / "s0001/segmentations/aorta.nii.gz", [1], shape=(4, 6, 6))
    (total / "s0002/segmentations/spleen.nii.gz").write_bytes(b"nothing")
    (total / "s0003/ct.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)s0000.*liver.*s0001.*aorta.*grid.*s0002.*spleen.*s0003.*empty"):
        converted(totalsegmentator, total, organs=ORGANS)
    assert not (total / "datalist.json").exists()
    content, report = converted(totalsegmentator, total, organs=ORGANS, skip_incomplete=True)
    assert [len(content.get(name, [])) for name in ("training", "testing")] == [0, 1]
    assert "s0001" in report


def test_totalsegmentator_without_table_or_with_a_wrong_one_or_name(total, tmp_path):
    with pytest.raises(ConfigError, match="livre"):
        converted(totalsegmentator, total, organs="livre")
    with pytest.raises(ConfigError, match="below"):
        converted(totalsegmentator, total, organs=ORGANS, labels="/elsewhere")
    (total / "meta.csv").write_text("image_id;split\ns0000;train\n")
    with pytest.raises(DataError, match="4 cases"):
        converted(totalsegmentator, total, organs=ORGANS)
    (total / "meta.csv").unlink()
    content, report = converted(totalsegmentator, total, organs=ORGANS)
    assert len(set(folds(content).values())) == 5
    assert "meta.csv" in report


def test_totalsegmentator_classes():
    assert (len(CLASSES_V1), len(set(CLASSES_V1))) == (104, 104)
    assert (len(CLASSES_V2), len(set(CLASSES_V2))) == (117, 117)
    # A few official numbers from the beginning, the middle and the end.
    assert [CLASSES_V1[n - 1] for n in (7, 44, 58, 93, 104)] == [
        *("aorta", "heart_myocardium", "rib_left_1", "face", "urinary_bladder")
    ]


def test_totalsegmentator_classes_are_those_in_its_files(real_data):
    from monai_ext.datalist.label_files import names_in

    assert names_in(real_data("ct_multiorgan") / "example_seg.nii.gz") == dict(enumerate(CLASSES_V2, start=1))


# FLARE22 and AMOS22


def test_flare22(tmp_path):
    for number in range(1, 7):
        image(tmp_path / f"FLARE22Train/images/FLARE22_Tr_{number:04d}_0000.nii.gz")
        image(tmp_path / f"FLARE22Train/labels/FLARE22_Tr_{number:04d}.nii.gz", [13])
    image(tmp_path / "Unlabeled/Case_00001_0000.nii.gz")
    image(tmp_path / "Tuning/images/FLARETs_0001_0000.nii.gz")
    image(tmp_path / "Tuning/labels/FLARETs_0001.nii.gz", [1])
    content, _ = converted(flare22, tmp_path)
    assert len(content["labels"]) == 13
    assert content["training"][0]["id"] == "FLARE22_Tr_0001"
    assert content["training"][0]["label"] == "FLARE22Train/labels/FLARE22_Tr_0001.nii.gz"
    assert sorted(set(folds(content).values())) == [0, 1, 2, 3, 4]
    assert [item["id"] for item in content["unlabelled"]] == ["Case_00001"]
    assert content["testing"][0]["label"] == "Tuning/labels/FLARETs_0001.nii.gz"
    for number in (1, 3):
        (tmp_path / f"FLARE22Train/labels/FLARE22_Tr_{number:04d}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)Tr_0001.*Tr_0003"):
        converted(flare22, tmp_path)


def test_amos22(tmp_path):
    for part, numbers in (("Tr", (1, 4, 507)), ("Va", (8, 580)), ("Ts", (2, 596))):
        for number in numbers:
            image(tmp_path / f"amos22/images{part}/amos_{number:04d}.nii.gz")
            if part != "Ts":
                image(tmp_path / f"amos22/labels{part}/amos_{number:04d}.nii.gz", [15])
    content, _ = converted(amos22, tmp_path)
    assert folds(content) == {"amos_0001": 1, "amos_0004": 1, "amos_0507": 1, "amos_0008": 0, "amos_0580": 0}
    assert folds(content, "testing") == {"amos_0002": None, "amos_0596": None}
    for kind, expected in (("ct", {"amos_0001", "amos_0004", "amos_0008"}), ("mr", {"amos_0507", "amos_0580"})):
        content, _ = converted(amos22, tmp_path, modality=kind)
        assert set(folds(content)) == expected
        assert {item["modality"] for item in content["training"]} == {kind}
    (tmp_path / "amos22/labelsVa/amos_0008.nii.gz").unlink()
    with pytest.raises(DataError, match="amos_0008"):
        converted(amos22, tmp_path)
    with pytest.raises(ConfigError, match="CT"):
        converted(amos22, tmp_path, modality="CT")


# PET/CT

AUTOPET = ["fdg_00aa_01-01-2005-A", "fdg_00aa_02-02-2006-B", "psma_11bb_2017-03-04", "fdg_22cc_03-03-2004-C"]


@pytest.fixture
def nnunet(tmp_path):
    for case in AUTOPET:
        image(tmp_path / f"imagesTr/{case}_0000.nii.gz")
        image(tmp_path / f"imagesTr/{case}_0001.nii.gz")
        image(tmp_path / f"labelsTr/{case}.nii.gz", [case.endswith("C")])
    return tmp_path


def test_autopet_in_the_layout_of_nnunet(nnunet):
    splits = [{"train": AUTOPET[2:], "val": AUTOPET[:2]}, {"train": AUTOPET[:2], "val": AUTOPET[2:]}]
    (nnunet / "splits_final.json").write_text(json.dumps(splits))
    content, report = converted(autopet, nnunet)
    assert folds(content) == {AUTOPET[0]: 0, AUTOPET[1]: 0, AUTOPET[2]: 1, AUTOPET[3]: 1}
    first = next(item for item in content["training"] if item["id"] == AUTOPET[0])
    assert list(first)[-3:] == ["pet", "ct", "label"]
    assert first["pet"].endswith("_0001.nii.gz")
    assert first["ct"].endswith("_0000.nii.gz")
    assert (first["patient"], first["tracer"]) == ("fdg_00aa", "fdg")
    assert report.split("\n")[1].split() == ["training", "4", "3", "1"]
    (nnunet / f"imagesTr/{AUTOPET[3]}_0000.nii.gz").unlink()
    (nnunet / f"imagesTr/{AUTOPET[2]}_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)22cc.*_0000.*11bb.*_0001"):
        converted(autopet, nnunet)


def test_autopet_whose_splits_part_a_patient_or_are_damaged(nnunet):
    splits = [{"train": [], "val": AUTOPET[:1]}, {"train": [], "val": AUTOPET[1:]}]
    (nnunet / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(DataError, match="patient fdg_00aa is in several splits"):
        converted(autopet, nnunet)
    (nnunet / "splits_final.json").write_text('{"val": 1}')
    with pytest.raises(DataError, match="splits cannot be read"):
        converted(autopet, nnunet)


def test_autopet_in_the_layout_of_tcia(tmp_path):
    studies = ["PETCT_aa/03-23-2003-NA-PET CT 1", "PETCT_aa/04-01-2004-NA-PET CT 2", "PETCT_bb/x", "PETCT_cc/y"]
    for number, study in enumerate(studies):
        for name in ("SUV", "CTres", "SEG"):
            image(tmp_path / "FDG" / study / f"{name}.nii.gz", [number == 0] if name == "SEG" else [])
    (tmp_path / "FDG/PETCT_cc/y/SEG.nii.gz").unlink()
    (tmp_path / "FDG/PETCT_bb/x/CTres.nii.gz").rename(tmp_path / "FDG/PETCT_bb/x/CT.nii.gz")
    content, _ = converted(autopet, tmp_path, num_folds=2)
    assert list(folds(content)) == ["PETCT_aa_03-23-2003-NA-PET_CT_1", "PETCT_aa_04-01-2004-NA-PET_CT_2", "PETCT_bb_x"]
    by_patient = {(item["patient"], item["fold"]) for item in content["training"]}
    assert len(by_patient) == 2
    assert [item["id"] for item in content["unlabelled"]] == ["PETCT_cc_y"]
    assert content["training"][2]["ct"].endswith("CT.nii.gz")
    content, _ = converted(autopet, tmp_path, num_testing=1)
    assert len({item["patient"] for item in content["testing"]}) == 1
    assert not {item["patient"] for item in content["testing"]} & {item["patient"] for item in content["training"]}
    assert all("fold" not in item for item in content["testing"])
    with pytest.raises(ConfigError, match="num_testing"):
        converted(autopet, tmp_path, num_testing=2)


def test_autopet_on_the_soft_tissue_sarcomas(tmp_path, real_data):
    root = real_data("sts_petct")
    with pytest.raises(DataError, match="wholebody_STS_001"):  # it has no CT
        autopet(str(root), str(tmp_path / "sts.json"))
    report = autopet(str(root), str(tmp_path / "sts.json"), num_testing=8, skip_incomplete=True)
    assert "wholebody_STS_001" in report
    items = load_datalist(tmp_path / "sts.json", root, required_keys=["pet", "ct", "label"])
    assert len(items) == 30
    assert {item["fold"] for item in items} == {0, 1, 2, 3, 4}
    assert len(load_datalist(tmp_path / "sts.json", root, "testing")) == 8


def test_longitudinal_ct(tmp_path):
    for patient in ("0a1", "1b2"):
        for name in ("BL_img_00", "FU_img_01"):
            image(tmp_path / f"inputsTr/{patient}_{name}.nii.gz")
        image(tmp_path / f"inputsTr/{patient}_BL_mask_00.nii.gz", [1])
        image(tmp_path / f"targetsTr/{patient}_FU_01.nii.gz", [1])
    image(tmp_path / "Smith/2019/scan.nii.gz")
    image(tmp_path / "Smith/2020/scan.nii.gz")
    content, _ = converted(longitudinal_ct, tmp_path, num_folds=2)
    assert list(content) == ["name", "unlabelled"]
    patients = [item["patient"] for item in content["unlabelled"]]
    assert patients == ["Smith", "Smith", "0a1", "0a1", "1b2", "1b2"]
    assert len({(item["patient"], item["fold"]) for item in content["unlabelled"]}) == 3
    items = load_datalist(tmp_path / "datalist.json", tmp_path, "unlabelled", required_keys=["ct"])
    assert [item["id"] for item in items][:3] == ["Smith_2019_scan", "Smith_2020_scan", "0a1_BL_img_00"]


# The Decathlon, and your own scans


def test_msd(tmp_path):
    names = ["TCGA_AA_1_x", "TCGA_AA_1_y", "TCGA_BB_2_x", "TCGA_CC_3_x"]
    for name in names:
        image(tmp_path / f"imagesTr/{name}.nii.gz", shape=(4, 6, 5, 3))
        image(tmp_path / f"labelsTr/{name}.nii.gz", [1])
    image(tmp_path / "imagesTs/TCGA_DD_4_x.nii.gz", shape=(4, 6, 5, 3))
    table = {
        "name": "Glioma",
        "labels": {"0": "background", "1": "tumor"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
        "test": ["./imagesTs/TCGA_DD_4_x.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    content, _ = converted(msd, tmp_path, patient=r"TCGA_[A-Z]+_\d", num_folds=2)
    assert (content["name"], content["labels"]) == ("Glioma", {"1": "tumor"})
    assert [item["patient"] for item in content["training"]] == ["TCGA_AA_1", "TCGA_AA_1", "TCGA_BB_2", "TCGA_CC_3"]
    assert folds(content)["TCGA_AA_1_x"] == folds(content)["TCGA_AA_1_y"]
    assert content["training"][0]["image"] == "imagesTr/TCGA_AA_1_x.nii.gz"
    assert [item["id"] for item in content["unlabelled"]] == ["TCGA_DD_4_x"]
    content, _ = converted(msd, tmp_path, patient="TCGA_([A-Z]+)", num_testing=1)
    assert {item["patient"] for item in content["training"] + content["testing"]} == {"AA", "BB", "CC"}
    assert len({item["patient"] for item in content["testing"]}) == 1
    with pytest.raises(ConfigError, match="nothing in TCGA_AA_1_x"):
        converted(msd, tmp_path, patient="UCSF")
    with pytest.raises(ConfigError, match="regular"):
        converted(msd, tmp_path, patient="(")
    (tmp_path / "imagesTr/TCGA_BB_2_x.nii.gz").unlink()
    (tmp_path / "labelsTr/TCGA_CC_3_x.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)CC_3.*BB_2"):
        converted(msd, tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match="training"):
        converted(msd, tmp_path)


@pytest.mark.parametrize(
    ("folder", "count", "testing", "patient"),
    [("hippocampus_mr", 195, 40, None), ("lgg_2d", 62, 12, r"TCGA_\w\w_\w{4}")],
)
def test_msd_on_real_tasks(tmp_path, real_data, folder, count, testing, patient):
    root, out = real_data(folder), tmp_path / "list.json"
    msd(str(root), str(out), num_testing=testing, patient=patient)
    training, held = (
        load_datalist(out, root, section, required_keys=["image", "label"]) for section in ("training", "testing")
    )
    assert (len(training), len(held)) == (count - testing, testing)
    assert {item["fold"] for item in training} == {0, 1, 2, 3, 4}
    if patient:  # modalities on the fourth axis, in the order of dataset.json
        assert nib.load(training[0]["image"]).shape[3] == 3
        assert training[0]["patient"] == training[0]["id"][:12]


def test_pairs_with_patients_and_folders(tmp_path):
    for patient, case in (("p1", "a"), ("p1", "b"), ("p2", "a")):
        image(tmp_path / f"ct/{patient}/{case}_x.nii.gz")
        image(tmp_path / f"seg/{patient}-{case}.nii.gz", [1])
    image(tmp_path / "ct/p3/a_x.nii.gz")
    options = {"image": "ct/{patient}/{case}_x.nii.gz", "label": "seg/{patient}-{case}.nii.gz"}
    content, _ = converted(pairs, tmp_path, **options, key="ct", num_folds=2)
    assert list(folds(content)) == ["p1_a", "p1_b", "p2_a"]
    assert folds(content)["p1_a"] == folds(content)["p1_b"]
    assert content["training"][1] | {"fold": 0} == {
        **{"id": "p1_b", "patient": "p1", "ct": "ct/p1/b_x.nii.gz", "label": "seg/p1-b.nii.gz", "fold": 0}
    }
    assert [item["id"] for item in content["unlabelled"]] == ["p3_a"]
    with pytest.raises(ConfigError, match="case"):
        converted(pairs, tmp_path, image="ct.nii.gz")
    with pytest.raises(DataError, match="no case"):
        converted(pairs, tmp_path, image="mr/{case}.nii.gz")


def test_pairs_compact_numbers_the_values_over_all_cases(tmp_path):
    for case, voxels in (("a", [5, 0, 117]), ("b", [63, 5])):
        image(tmp_path / f"{case}_ct.nii.gz")
        image(tmp_path / f"{case}_seg.nii.gz", voxels)
    content, _ = converted(pairs, tmp_path, image="{case}_ct.nii.gz", label="{case}_seg.nii.gz", compact=True)
    assert content["labels"] == {"1": "5", "2": "63", "3": "117"}
    lines = [np.asarray(nib.load(tmp_path / i["label"]).dataobj)[1, 2, :3].tolist() for i in content["training"]]
    assert lines == [[1, 0, 3], [2, 1, 0]]
    (tmp_path / "b_seg.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="case b"):
        converted(pairs, tmp_path, image="{case}_ct.nii.gz", label="{case}_seg.nii.gz", compact=True)


def test_pairs_on_a_ct_with_61_structures(tmp_path, real_data):
    for name in ("example_ct", "example_seg_fast_force_split"):
        shutil.copy(real_data("ct_multiorgan") / f"{name}.nii.gz", tmp_path)
    options = {"image": "{case}_ct.nii.gz", "label": "{case}_seg_fast_force_split.nii.gz", "compact": True}
    content, _ = converted(pairs, tmp_path, **options)
    (item,) = content["training"]
    before = np.asarray(nib.load(tmp_path / "example_seg_fast_force_split.nii.gz").dataobj)
    after = np.asarray(nib.load(tmp_path / item["label"]).dataobj)
    names = {int(value): name for value, name in content["labels"].items()}
    assert list(names) == list(range(1, 62))
    for value, name in names.items():
        np.testing.assert_array_equal(after == value, before == CLASSES_V2.index(name) + 1)
    load_datalist(tmp_path / "datalist.json", tmp_path, required_keys=["image", "label"])


@pytest.mark.parametrize("convert", [flare22, amos22, autopet, longitudinal_ct, totalsegmentator])
def test_an_empty_tree_is_an_error(tmp_path, convert):
    with pytest.raises(DataError, match="no case"):
        converted(convert, tmp_path)
