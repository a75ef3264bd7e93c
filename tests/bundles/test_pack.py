"""Bundles in the model zoo's form: packed, fetched by MONAI from a file URL, and loaded."""

import hashlib
import json
import subprocess
import sys
import zipfile

import monai.bundle
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from running import ROOT
from safetensors.torch import load_file

sys.path.insert(0, str(ROOT / "ci"))
import pack_bundle

ZOO = ["LICENSE", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return pack_bundle.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def weights(source):
    parser = ConfigParser()
    parser.read_config(str(source / "configs/inference.json"))
    parser["bundle_root"] = str(source)
    torch.manual_seed(1)
    return parser.get_parsed_content("network_def").state_dict()


def write_card(bundle):
    """The model card without which weights are not packed."""
    (bundle / "docs/model_card.md").write_text(
        f"Untrained.\n\nsha256: {pack_bundle.sha256(bundle / 'models/model.pt')}\n"
    )


@pytest.fixture
def bundle(name, source, weights, tmp_path):
    """A copy of the bundle with untrained weights."""
    copy = tmp_path / "source" / name
    pack_bundle.shutil.copytree(source, copy, ignore=pack_bundle.shutil.ignore_patterns("models", "output", "mlruns*"))
    (copy / "models").mkdir()
    torch.save(weights, copy / "models/model.pt")
    (copy / "models/model.record.json").write_text('{"patients": {"train": ["somebody"]}}')
    write_card(copy)
    for folder in ("output", "weights/mine", "docs/evidence/mine"):
        (copy / folder).mkdir(parents=True)
        (copy / folder / "private.txt").write_text("not for others")
    return copy


def test_monai_downloads_and_loads_the_zip(name, bundle, weights, wheel, tmp_path, monkeypatch):
    packed = pack_bundle.pack(bundle, tmp_path / "dist", wheel=wheel)
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert packed.name == f"{name}_v{metadata['version']}.zip"
    place = tmp_path / "elsewhere"
    place.mkdir()
    monai.bundle.download(name=name, url=packed.as_uri(), bundle_dir=str(place))
    unpacked = place / name
    if (unpacked / "large_files.yml").exists():
        monai.bundle.download_large_files(str(unpacked))
    assert [file for file in ZOO if not (unpacked / file).is_file()] == []
    assert list(unpacked.glob("wheels/monai_ext-*.whl"))
    assert not list(unpacked.rglob("*.record.json"))  # which name patients
    assert not list(unpacked.rglob("private.txt"))
    monkeypatch.chdir(unpacked)  # a bundle finds itself in the working directory
    monai.bundle.verify_metadata(
        meta_file="configs/metadata.json",
        filepath=pack_bundle.shutil.copy(ROOT / "tests/bundles/meta_schema_20240725.json", tmp_path / "schema.json"),
    )
    network = monai.bundle.load(name=name, bundle_dir=str(place), workflow_type="train", device="cpu")
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    safe = load_file(unpacked / "models/model.safetensors")
    assert safe.keys() == weights.keys()
    assert all(torch.equal(safe[key], weights[key]) for key in weights)


@pytest.fixture
def small(tmp_path):
    """A bundle with weights that are quick to pack."""
    copy = tmp_path / "small" / "prostate_mae"
    pack_bundle.shutil.copytree(
        ROOT / "bundles/prostate_mae", copy, ignore=pack_bundle.shutil.ignore_patterns("models")
    )
    (copy / "models").mkdir()
    torch.save({"weight": torch.arange(50_000.0)}, copy / "models/model.pt")
    write_card(copy)
    return copy


def test_large_files_are_listed_with_their_hash(small, wheel, tmp_path, monkeypatch):
    name = small.name
    monkeypatch.setattr(pack_bundle, "LARGE", 150_000)
    packed = pack_bundle.pack(small, tmp_path / "dist", wheel=wheel)
    with zipfile.ZipFile(packed) as archive:
        inside = archive.namelist()
        listed = yaml.safe_load(archive.read(f"{name}/large_files.yml"))["large_files"]
        archive.extractall(tmp_path / "out")
    assert {"models/model.pt", "models/model.safetensors"} <= {file["path"] for file in listed}
    assert f"{name}/models/model.pt" not in inside
    monai.bundle.download_large_files(str(tmp_path / "out" / name))
    for file in listed:
        content = (tmp_path / "out" / name / file["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["hash_val"]


def test_packing_twice_gives_the_same_bytes(small, wheel, tmp_path):
    one, two = (pack_bundle.pack(small, tmp_path / folder, "https://x", wheel) for folder in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


def test_model_card_has_front_matter(source):
    metadata = json.loads((source / "configs/metadata.json").read_text())
    _, front, text = pack_bundle.model_card(source, metadata).split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["library_name"] == "monai"
    assert card["license"] == "apache-2.0"
    assert text.strip() == (source / "docs/README.md").read_text().strip()


def test_the_wheel_holds_the_package_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "monai_ext/networks/nets/mae_segmenter.py" in names
    assert not [name for name in names if not name.startswith(("monai_ext/", "monai_ext-"))]


def test_an_unknown_bundle_is_an_error():
    command = [sys.executable, str(ROOT / "ci/pack_bundle.py"), "nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert "there are" in result.stderr


def test_weights_without_a_card_stay_here(tmp_path):
    folder = tmp_path / "amlp"
    (folder / "models").mkdir(parents=True)
    (folder / "docs").mkdir()
    torch.save({"a": torch.zeros(1)}, folder / "models/model.pt")
    with pytest.raises(SystemExit, match=r"model\.pt.*model_card\.md is missing.*sha256"):
        pack_bundle.pack(folder, tmp_path / "dist")
    (folder / "docs/model_card.md").write_text("of other weights")
    with pytest.raises(SystemExit, match="does not name this file"):
        pack_bundle.check_card(folder)
    (folder / "docs/model_card.md").write_text(pack_bundle.sha256(folder / "models/model.pt"))
    pack_bundle.check_card(folder)
    assert not (tmp_path / "dist").exists()
