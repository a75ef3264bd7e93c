import json
import math
import re

import pytest
from planned import ROOT, context

from monai_ext.errors import ConfigError
from monai_ext.phases.chain import is_shared
from monai_ext.plan.planner import BUNDLES, describe, make_plan, names_of, plan, write

ORGANS = tuple(range(1, 62))

#: What the rules must stand: each data set with the bundle that it is for.
SETS = {
    "thick MR": ("anatomask", {"spacing": (0.5, 0.5, 3.0), "shape": (384, 384, 19), "lesion_ml": (0.4, 1.0)}),
    "whole-body PET/CT": ("autopet_bixlstm", {"spacing": (2.0, 2.0, 3.0), "shape": (400, 400, 600)}),
    "small crop": ("anatomask", {"shape": (35, 50, 35), "classes": (1, 2)}),
    "slices stored as volumes": ("amlp", {"spacing": (1.0, 1.0, 5.0), "shape": (240, 240, 1), "extent": (40, 40, 5)}),
    "61 classes": ("anatomask", {"spacing": (3.0, 3.0, 3.0), "shape": (122, 101, 112), "classes": ORGANS}),
    "3 labelled cases": ("anatomask", {"shape": (120, 120, 120), "labelled": 3}),
    "four modalities": ("amlp", {"shape": (155, 240, 240), "modalities": ("t1", "t1ce", "t2", "flair")}),
    "bpMRI": ("prostate_mae", {"spacing": (0.5, 0.5, 3.0), "shape": (384, 384, 19)}),
    "bpMRI with maps": ("adunet_anomaly", {"spacing": (0.5, 0.5, 3.0), "shape": (384, 384, 19)}),
}
IMAGES = {
    "autopet_bixlstm": ("ct", "pet"),
    "prostate_mae": ("t2w", "adc", "hbv"),
    "adunet_anomaly": ("t2w", "adc", "hbv"),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("speed", [4e-6, 1e-8])
def test_every_kind_of_data_gets_a_sensible_plan(make_facts, name, speed):
    bundle, options = SETS[name]
    facts = make_facts(**{"modalities": IMAGES.get(bundle, ("image",)), **options})
    made, calls = context(bundle, facts, seconds_per_voxel=speed)
    found = make_plan(bundle, made)
    assert len(calls) <= 6  # each takes some seconds
    assert found.seconds <= 15 * 60 or "validate on fewer cases" in str(found.warnings)
    assert "hardly a training" not in str(found.warnings)
    assert found.gibibytes <= 8
    overlay = found.overlay()
    keys = {s.key for s in found.settings}
    assert {"max_epochs"} <= keys
    assert all(isinstance(s.reason, str) and s.reason for s in found.settings)
    json.dumps(overlay)
    for phase, config in made.configs.items():  # nothing that no config takes
        for key in overlay.get(phase, {}):
            assert key in config, key
    assert all(any(key in config for config in made.configs.values()) for key in overlay if key not in made.configs)
    size = overlay.get("crop_size")
    if size:
        assert min(size) >= 4
        assert math.prod(size) >= 8**3
    if name == "61 classes":
        assert len(overlay["organs"]) == 61
    if name == "3 labelled cases":
        assert overlay["last_epoch"] is True
        assert overlay["patience"] is None


def test_more_minutes_are_more_steps_or_a_larger_network(make_facts):
    def work(minutes):
        made, _ = context("anatomask", make_facts(shape=(120, 120, 120)), minutes, seconds_per_voxel=1e-6)
        overlay = make_plan("anatomask", made).overlay()
        steps = overlay["max_epochs"] * overlay["num_crops"] // 2
        return steps * math.prod(overlay["crop_size"]) * overlay["model_size"][0] ** 1.5

    loads = [work(minutes) for minutes in (5, 15, 60)]
    assert loads == sorted(loads)
    assert loads[2] > 5 * loads[0]


def test_the_paper_is_kept_and_its_cost_is_said(make_facts):
    made, calls = context("anatomask", make_facts())
    found = make_plan("anatomask", made, paper=True)
    assert found.settings == []
    assert calls == [({}, (1, 112, 112, 128), 2)]
    assert found.seconds == pytest.approx(112 * 112 * 128 * 4e-6 * 250_000)
    assert "hours" in found.warnings[-1]
    small, _ = context("anatomask", make_facts(), memory=1.0)
    assert "GiB" in make_plan("anatomask", small, paper=True).warnings[0]


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_fine_tuning_does_not_reach_into_earlier_phases(make_facts, bundle):
    """Each phase, with the overlay's top and its own section laid over it, still has all that it refers to."""
    made, _ = context(bundle, make_facts(modalities=IMAGES.get(bundle, ("image",))))
    overlay = make_plan(bundle, made).overlay()
    top = {key: value for key, value in overlay.items() if key not in made.configs}
    for phase in set(made.configs) - {"train", "evaluate", "inference"}:
        config = made.configs[phase]
        shared = {key: value for key, value in top.items() if is_shared(key, made.configs["train"] | top, config)}
        laid = shared | overlay.get(phase, {})
        for key in ("optimizer", "foreground", "warmup"):
            if key in config:
                assert laid.get(key, config[key]) == config[key] or key == "warmup"
        for reference in re.findall(r"@(\w+)", json.dumps(laid)):
            assert reference in config, (phase, reference)


@pytest.mark.parametrize("bundle", ["amlp", "prostate_mae"])
def test_whole_slices_are_moved_about(make_facts, bundle):
    made, _ = context(bundle, make_facts(modalities=IMAGES.get(bundle, ("flair",)), labelled=5))
    overlay = make_plan(bundle, made).overlay()
    assert (overlay["augment"], overlay["shift"], overlay["moved"]) == (True, 0.2, 0.8)


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_scans_are_mirrored_as_in_training(make_facts, bundle):
    made, _ = context(bundle, make_facts(modalities=IMAGES.get(bundle, ("image",))))
    overlay = make_plan(bundle, made).overlay()
    paper = made.configs["evaluate"]["mirror"]
    assert overlay.get("mirror", paper) == overlay.get("flips", made.configs["train"].get("flips", paper))
    assert overlay.get("mirror", paper)


@pytest.mark.parametrize("bundle", ["anatomask", "autopet_bixlstm"])
def test_few_steps_have_a_milder_augmentation(make_facts, bundle):
    """nnU-Net's is for runs that are long enough to gain from it."""
    facts = make_facts(modalities=IMAGES.get(bundle, ("image",)), labelled=200)
    found = {}
    for minutes in (5, 60_000):
        made, _ = context(bundle, facts, minutes)
        settings = made.configs["train"] | make_plan(bundle, made).overlay()
        found[minutes] = [settings[key] for key in ("intensity", "rotation", "zoom")]
    assert found == {5: [0.3, 15, [0.8, 1.25]], 60_000: [1.0, 30, [0.7, 1.4]]}
    assert settings.get("outside", "border") == ("zeros" if bundle == "anatomask" else "border")


def test_the_network_of_prostate_mae_fits_the_time(make_facts):
    facts = make_facts(modalities=IMAGES["prostate_mae"])
    found = {}
    for minutes in (1, 600):
        made, _ = context("prostate_mae", facts, minutes, seconds_per_voxel=2e-5)
        found[minutes] = make_plan("prostate_mae", made).overlay()
        assert found[minutes]["pretrain"]["decoder_dim"] == found[minutes]["embed_dim"] // 2
    assert (found[1]["embed_dim"], found[600]["embed_dim"]) == (128, 384)


def test_settings_without_a_config_are_left_out_with_a_word(make_facts):
    made, _ = context("anatomask", make_facts())
    configs = {
        name: {key: value for key, value in config.items() if key != "flips"} for name, config in made.configs.items()
    }
    made.configs = configs
    found = make_plan("anatomask", made)
    assert "flips" not in found.overlay()
    assert "flips" in found.warnings[0]


@pytest.mark.parametrize("labels", [{"1": "liver", "2": "spleen"}, {"background": 0, "liver": 1, "spleen": "2"}])
def test_names_come_from_the_datalist(tmp_path, make_facts, labels):
    (tmp_path / "list.json").write_text(json.dumps({"training": [], "labels": labels}))
    names = names_of(tmp_path / "list.json")
    assert (names[1], names[2]) == ("liver", "spleen")
    made, _ = context("anatomask", make_facts(classes=(1, 2, 3)))
    made.names = names
    assert make_plan("anatomask", made).overlay()["organs"] == ["liver", "spleen", "class 3"]


def test_unknown_bundle_and_unwritable_file(tmp_path):
    with pytest.raises(ConfigError, match="anatomask"):
        plan("nnunet", "x.json", str(tmp_path))
    write(tmp_path / "plan.json", {"lr": 0.1})
    with pytest.raises(ConfigError, match="cannot write"):
        write(tmp_path / "plan.json" / "plan.json", {})
    assert json.loads((tmp_path / "plan.json").read_text()) == {"lr": 0.1}
    assert set(BUNDLES) == {path.name for path in ROOT.iterdir() if (path / "configs/train.json").is_file()}


def test_which_patients_get_labels_is_asked_where_not_all_do(make_facts):
    facts = make_facts()
    assert "monai_ext.select --bundle amlp --num 3 ..." in describe(facts, 9, 4.0, 3, "amlp")
    assert "--num 5" in describe(facts, 9, 4.0, 0, "amlp")
    assert "select" not in describe(facts, 9, 4.0, 9, "amlp")


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_self_training_gets_the_minutes_of_any_phase(make_facts, bundle):
    """Its steps cost 2.5 of the training's; how many there are in an epoch is the training's."""
    made, _ = context(bundle, make_facts(modalities=IMAGES.get(bundle, ("image",)), labelled=5))
    found = make_plan(bundle, made)
    overlay = found.overlay()
    if bundle == "adunet_anomaly":
        assert "self_train" not in overlay
        return
    assert overlay["self_train"] == {"max_epochs": 8}
    assert overlay["max_epochs"] == 20
    (setting,) = (setting for setting in found.settings if setting.key == "self_train#max_epochs")
    assert setting.departs
    assert setting.paper == json.loads((ROOT / bundle / "configs/self_train.json").read_text())["max_epochs"]


@pytest.mark.parametrize(("labelled", "planned"), [(6, True), (7, False), (20, False)])
def test_self_training_is_planned_where_most_patients_have_no_label(make_facts, labelled, planned):
    facts = make_facts(modalities=("image",), labelled=labelled)
    assert facts.patients == 20
    made, _ = context("anatomask", facts)
    assert make_plan("anatomask", made).overlay().get("semi_supervised", False) is planned
