"""What makes a product: settings that matter and the data, file by file."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from monai_ext.data.io.record import differences
from monai_ext.phases.identity import describe_data, identify, settings_of


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(rng.normal(size=(24, 24, 24)), np.eye(4)), folder / f"{name}.nii.gz")
    items = [{"id": name, "fold": 0, "image": f"{name}.nii.gz"} for name in ("a", "b")]
    (folder / "list.json").write_text(json.dumps({"training": items}))
    return folder


def describe(folder):
    return describe_data(folder / "list.json", folder)


def test_a_copy_has_the_print_of_the_original(data, tmp_path):
    shutil.copytree(data, tmp_path / "copy")
    assert describe(tmp_path / "copy") == describe(data)


def test_one_changed_voxel_in_the_middle_of_a_file_changes_its_print(data):
    before = describe(data)
    path = data / "b.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    assert len(content) > 100_000
    content[60_000] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    after = describe(data)
    assert after["training"]["a"] == before["training"]["a"]
    assert differences({"data": before}, {"data": after}) == ["case b of section training has changed"]


def test_raw_file_behind_a_header_and_missing_files_count(data):
    (data / "c.mhd").write_text("ElementDataFile = c.raw\n")
    (data / "c.raw").write_bytes(bytes(100))
    (data / "list.json").write_text(json.dumps({"training": [{"id": "c", "image": "c.mhd"}]}))
    before = describe(data)
    (data / "c.raw").write_bytes(bytes(99) + b"\1")
    assert describe(data) != before
    (data / "c.mhd").unlink()
    assert describe(data) != before


CONFIG = {
    "imports": [],
    "phases": ["first"],
    "first": {"lr": 1},
    "device": "cpu",
    "run_dir": "/a",
    "resume": False,
    "seed": 0,
    "_desc_seed": "of the run",
    "lr": 0.1,
    "network": {"_target_": "x", "_desc_": "a net", "width": 8},
}


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        *[({"device": "cuda"}, False), ({"run_dir": "/b"}, False), ({"resume": True}, False)],
        *[({"_desc_seed": "?"}, False), ({"first": {"lr": 2}}, False), ({"seed": 1}, True), ({"lr": 0.2}, True)],
        *[({"new": 1}, True), ({"network": {"_target_": "x", "width": 9}}, True)],
        ({"network": {"_target_": "x", "width": 8}}, False),
    ],
)
def test_which_settings_matter(change, matters):
    assert (settings_of(CONFIG | change) != settings_of(CONFIG)) == matters


def test_identify_names_version_settings_and_data(data, monkeypatch):
    config = {**CONFIG, "datalist": str(data / "list.json"), "dataset_dir": str(data)}
    assert "data" not in identify(ConfigParser(config))  # it makes no product: each study has a record of its own
    parser = ConfigParser({**config, "product": "x.pt"})
    record = identify(parser)
    assert record.keys() == {"version", "settings", "data", "inputs", "seen"}
    assert record["data"]["training"].keys() == {"a", "b"}
    assert json.loads(json.dumps(record)) == record
    monkeypatch.setattr("monai_ext.__version__", "99.0")
    assert differences(record, identify(parser)) == [f'version was "{record["version"]}", is "99.0"']


def test_what_earlier_phases_made_counts_by_its_content(tmp_path):
    weights, generator = tmp_path / "pretrained.pt", tmp_path / "generators/split0/adc.pt"
    generator.parent.mkdir(parents=True)
    config = {**CONFIG, "product": "@model", "model": str(tmp_path / "model.pt")}
    config |= {"pretrained": str(weights), "generators": str(tmp_path / "generators")}

    def inputs():
        return {"inputs": identify(ConfigParser(config))["inputs"]}

    assert inputs() == {"inputs": {"generators": ["nothing"]}}
    for path in (weights, generator):
        path.write_bytes(b"1")
    before = inputs()
    assert before["inputs"].keys() == {"pretrained", "generators"}
    for path, name in ((weights, "pretrained"), (generator, "generators")):
        path.write_bytes(b"2")
        assert differences(before, inputs()) == [f"{name} is another file, or has another content"]
        path.write_bytes(b"1")
    shutil.copy(weights, tmp_path / "copy.pt")
    config["pretrained"] = str(tmp_path / "copy.pt")
    assert inputs() == before
