"""The Decathlon's layout, and two of its tasks where they are at hand."""

import json

import nibabel as nib
import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.msd import msd
from monai_ext.errors import ConfigError, DataError


def test_msd(tmp_path, image, converted, folds):
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
