"""A bundle of one's own equals its origin under the overlay, and needs none."""

import json
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser
from safetensors.torch import save_file

from monai_ext.data.io.record import check_product, metrics_behind, patients_behind, write_record
from monai_ext.derive import bake, derive
from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks import read_checkpoint
from monai_ext.networks.nets import UNet
from monai_ext.phases.chain import Phase, earlier_phases
from monai_ext.phases.identity import settings_of

BUNDLES = Path(__file__).parents[1] / "bundles"
PLAN = {
    "modalities": ["t1", "flair"],
    "img_size": [64, 64],
    "features": [4, 8, 16],
    "preprocessing#interpolation": "bilinear",
    "lr": 0.003,
    "pretrain": {"max_epochs": 3, "lr": 0.01},
}


def written(file, *overlays):
    parser = ConfigParser()
    parser.read_config([str(file), *map(str, overlays)])
    return parser.get()


@pytest.mark.parametrize("name", sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/train.json")))
def test_configs_are_those_under_the_overlay(name):
    root = BUNDLES / name
    demo, configs = root / "configs/demo.json", root / "configs"
    train = ConfigParser()
    train.read_config([str(configs / "train.json"), str(demo)])
    train["bundle_root"] = str(root)
    baked = dict(bake(root, [demo]))
    for file in ("train.json", "evaluate.json", "inference.json"):
        expected, plain = written(configs / file, demo), written(configs / file)
        for key in (key for key in plain if key not in ("run_dir", "bundle_root") and key[:1] != "_"):
            if isinstance(plain[key], dict) and key in earlier_phases(plain):  # MONAI replaces these by the overlay's
                assert expected[key].items() <= baked[file][key].items()
            else:
                assert baked[file][key] == expected[key], (file, key)
        assert baked[file].keys() == plain.keys() - {"_meta_"}
    for phase in earlier_phases(train.get()):
        alone = ConfigParser(baked[f"{phase}.json"])
        alone.update({"bundle_root": str(root), "run_dir": str(root / "demo")})
        chained = Phase(train, phase, files=[str(configs / "train.json"), str(demo)])
        assert settings_of(alone.get()) == settings_of(chained.config.get()), phase
    assert "demo.json" not in baked


def test_a_later_phase_gets_its_section_alone(tmp_path):
    """It is laid over the training, whose settings reach it from there."""
    overlay = tmp_path / "plan.json"
    overlay.write_text(json.dumps({"max_epochs": 7, "features": [4, 8], "self_train": {"max_epochs": 3, "mix": 0.2}}))
    baked = dict(bake(BUNDLES / "amlp", [overlay]))
    plain = json.loads((BUNDLES / "amlp/configs/self_train.json").read_text())
    assert baked["self_train.json"] == plain | {"max_epochs": 3, "mix": 0.2}
    assert baked["train.json"]["max_epochs"] == 7
    assert baked["train.json"]["self_train"] == {"max_epochs": 3, "mix": 0.2}


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return path


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = UNet(in_channels=2, out_channels=2, features=PLAN["features"])
    torch.save({"model": network.state_dict()}, tmp_path / "trained.pt")
    return tmp_path / "trained.pt"


def test_places_of_this_machine_are_not_shared(tmp_path):
    overlay = tmp_path / "plan.json"
    overlay.write_text(json.dumps({"datalist": "/home/me/list.json", "dataset_dir": "/home/me", "features": [4, 8]}))
    for file, config in bake(BUNDLES / "amlp", [overlay]):
        assert "/home/me" not in json.dumps(config), file


def test_it_is_loaded_by_monai_without_an_overlay(plan, weights, tmp_path):
    (tmp_path / "card.md").write_text("Of ten patients.")
    (tmp_path / "about.json").write_text('{"name": "Gliomas"}')
    options = {"card": str(tmp_path / "card.md"), "about": str(tmp_path / "about.json"), "out": str(tmp_path / "new")}
    derive("amlp", "gliomas", str(plan), str(weights), **options)
    made = tmp_path / "new/gliomas"
    network = monai.bundle.load(
        "gliomas", bundle_dir=str(tmp_path / "new"), workflow_type="inference", device="cpu", load_ts_module=False
    )
    trained = read_checkpoint(weights)["model"]
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
    metadata = json.loads((made / "configs/metadata.json").read_text())
    assert metadata["name"] == "Gliomas"
    assert metadata["network_data_format"]["inputs"]["image"]["channel_def"] == {"0": "t1", "1": "flair"}
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64]
    train = json.loads((made / "configs/train.json").read_text())
    assert train["bundle_root"] == "$monai_ext.bundle.find_root('gliomas')"
    assert train["preprocessing"]["interpolation"] == "bilinear"
    assert json.loads((made / "configs/pretrain.json").read_text())["lr"] == 0.01
    card = (made / "docs/model_card.md").read_text()
    assert card.startswith("Of ten patients.\n\nsha256: ")
    assert not list(made.rglob("demo.json"))
    assert sorted(path.name for path in (made / "models").iterdir()) == ["model.pt"]


def test_weights_that_come_with_a_bundle_bring_their_settings_and_card(plan, weights, tmp_path, monkeypatch):
    shipped = tmp_path / "bundles/amlp/weights/gliomas"
    for file in sorted((BUNDLES / "amlp/configs").glob("*.json")):
        copy = tmp_path / "bundles/amlp/configs" / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (tmp_path / "bundles/amlp/docs").mkdir()
    shipped.mkdir(parents=True)
    (shipped / "overlay.json").write_text(plan.read_text())
    save_file(read_checkpoint(weights)["model"], shipped / "model.safetensors")
    (shipped / "model_card.md").write_text("Of ten patients.")
    write_record(shipped / "model.safetensors", {"patients": {"train": ["p1", "p2"]}}, {"val_dice": 0.5})
    monkeypatch.chdir(tmp_path)
    derive("amlp", "served", weights="gliomas", out="new")
    assert (tmp_path / "new/served/docs/model_card.md").read_text().startswith("Of ten patients.")
    made = read_checkpoint(tmp_path / "new/served/models/model.pt")
    assert made.keys() == read_checkpoint(weights)["model"].keys()
    product = tmp_path / "new/served/models/model.pt"
    check_product(product)  # the hash is that of the new file
    assert (patients_behind(product), metrics_behind(product)) == ({"p1", "p2"}, {"val_dice": 0.5})
    metadata = json.loads((tmp_path / "new/served/configs/metadata.json").read_text())
    assert metadata["eval_metrics"] == {"val_dice": 0.5}
    (tmp_path / "about.json").write_text('{"eval_metrics": {"dice": 0.4}}')
    derive("amlp", "told", weights="gliomas", out="new", about=str(tmp_path / "about.json"))
    assert json.loads((tmp_path / "new/told/configs/metadata.json").read_text())["eval_metrics"] == {"dice": 0.4}
    with pytest.raises(ConfigError, match="has no weights 'glioma': there are gliomas"):
        derive("amlp", "other", weights="glioma", out="new")


@pytest.mark.parametrize(
    ("name", "message"),
    [("Mine", "small letters"), ("lesion_detection", "another kind"), ("taken", "is there already")],
)
def test_names_that_cannot_be_used(name, message, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match=message):
        derive("amlp", name, out=str(tmp_path))


def test_weights_that_do_not_fit_leave_nothing(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"only \d+ of \d+ parameters"):
        derive("amlp", "gliomas", weights=str(weights), out=str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
