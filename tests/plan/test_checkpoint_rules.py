"""A published encoder and a data set in one plan: who wins where, and that the lines say what was given up."""

import json
import math

import pytest
import torch
from monai.bundle import ConfigParser
from planned import context

from monai_ext.errors import ConfigError
from monai_ext.networks.nets.residual_encoder_unet import RESENC_L
from monai_ext.networks.published import Architecture
from monai_ext.plan.planner import make_plan
from monai_ext.plan.pretraining import Pretraining

RESENC = Architecture("ResEnc", *RESENC_L)
STUNET_S = Architecture("STU-Net", (16, 32, 64, 128, 256), (1,) * 5)  # as SparK leaves it, without the last stage
BRAIN = Pretraining("openmind_mae", RESENC, (1.0, 1.0, 1.0), "z-score", (160, 160, 160))


def planned(bundle, facts, pretraining, speed=1e-9, **options):
    made, calls = context(bundle, facts, seconds_per_voxel=speed, **options)
    made.pretraining = pretraining
    found = make_plan(bundle, made)
    return found, {setting.key: setting for setting in found.settings}, calls


def test_spacing_intensities_crop_and_network_of_the_encoder_win(make_facts):
    found, lines, _ = planned(
        "anatomask", make_facts(spacing=(0.8, 0.8, 2.5), shape=(200, 200, 80)), BRAIN, memory=64.0
    )
    assert lines["spacing"].value == [1.0, 1.0, 1.0]
    assert "given up: the data's 0.8 x 0.8 x 2.5 mm" in lines["spacing"].reason
    assert (lines["percentiles"].value, lines["scales"].value) == ([0, 100], None)
    assert "z-score of the whole volume; given up: clipping at percentiles" in lines["percentiles"].reason
    assert lines["crop_size"].value == [160, 160, 160]  # the scan has 160 x 160 x 200 voxels of 1 mm
    assert lines["network_def"].value["channels"] == [32, 64, 128, 256, 320, 320]
    assert "ResEnc-L, the weights' own; given up: the data's model_size" in lines["network_def"].reason
    assert lines["pretrained"].value == "openmind_mae"
    assert not any(key.startswith("pretrain#") for key in lines if key not in ("pretrain#foreground",))
    assert found.overlay()["lr"] <= 0.001
    json.dumps(found.overlay())


def test_the_fixed_scales_of_ct_give_way_to_a_z_score_and_stay_for_ct(make_facts):
    ct = make_facts(inside={"image": (40, 300)}, shape=(128, 128, 128))
    _, without, _ = planned("anatomask", ct, None)
    assert without["scales"].value
    _, lines, _ = planned("anatomask", ct, BRAIN)
    assert lines["scales"].value is None
    assert "given up: the data's fixed scales" in lines["scales"].reason
    _, lines, _ = planned("anatomask", ct, Pretraining("stunet_small", STUNET_S, (1.5,) * 3, "CT", (128,) * 3))
    assert lines["scales"].value == without["scales"].value
    assert "given up" not in lines["scales"].reason


def test_much_finer_data_keep_their_voxels(make_facts):
    _, lines, _ = planned("anatomask", make_facts(spacing=(0.3, 0.3, 0.4), shape=(200, 200, 200)), BRAIN)
    assert lines["spacing"].value is None
    assert "2 times finer than the encoder's; given up: the encoder's 1 x 1 x 1 mm" in lines["spacing"].reason
    _, lines, _ = planned("anatomask", make_facts(), Pretraining("x.pth", RESENC))
    assert "asks for none" in lines["spacing"].reason


def test_an_stunet_gets_its_size_and_its_levels(make_facts):
    _, lines, _ = planned("anatomask", make_facts(), Pretraining("s.pt", STUNET_S, (1.5,) * 3, "CT", (128,) * 3))
    assert (lines["model_size"].value, lines["levels"].value) == ("S", 4)
    assert lines["strides"].value == [[2, 2, 2]] * 4 + [[1, 1, 1]]
    assert "network_def" not in lines
    assert all(n % 16 == 0 for n in lines["crop_size"].value)


@pytest.mark.parametrize("speed", [1e-9, 1e-7, 1e-4])
@pytest.mark.parametrize("shape", [(40, 50, 20), (300, 200, 90)])
def test_crops_are_what_the_time_and_the_network_take(make_facts, speed, shape):
    found, lines, calls = planned("anatomask", make_facts(shape=shape), BRAIN, speed)
    crop = lines["crop_size"].value
    assert all(n % 32 == 0 for n in crop)
    assert max(crop) >= 64  # the network refuses a single voxel at its last stage
    assert all(n <= max(64, 32 * math.ceil(m / 32)) for n, m in zip(crop, shape))
    assert "given up: the encoder's 160 x 160 x 160" in lines["crop_size"].reason
    assert found.seconds <= 15 * 60 or found.warnings
    assert len(calls) <= 10


def test_memory_makes_the_crop_smaller(make_facts):
    _, roomy, _ = planned("anatomask", make_facts(shape=(200, 200, 200)), BRAIN, memory=64.0)
    found, tight, _ = planned("anatomask", make_facts(shape=(200, 200, 200)), BRAIN, memory=2.0)
    assert math.prod(tight["crop_size"].value) < math.prod(roomy["crop_size"].value)
    assert found.gibibytes <= 2.0


def test_pet_ct_keeps_its_scales_and_says_so(make_facts):
    facts = make_facts(modalities=("ct", "pet"), shape=(128, 128, 200), inside={"ct": (40, 300), "pet": (5, 3)})
    _, lines, _ = planned("autopet_bixlstm", facts, BRAIN)
    assert lines["scales"].value
    assert "given up: the encoder's z-score" in lines["scales"].reason
    assert lines["network_def"].value["position"] == "@position"  # the xLSTM stays at the bottleneck
    assert lines["strides"].value == [1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("bundle", ["anatomask", "autopet_bixlstm"])
def test_the_network_of_the_plan_takes_the_weights(make_facts, bundle):
    """The overlay builds the network whose encoder has the widths and blocks of the file."""
    small = Architecture("ResEnc", (4, 8, 12), (1, 2, 2))
    facts = make_facts(modalities=("image",) if bundle == "anatomask" else ("ct", "pet"))
    made, _ = context(bundle, facts, seconds_per_voxel=1e-9)
    made.pretraining = Pretraining("x.pth", small, (1.0,) * 3, "z-score", (64,) * 3)
    overlay = make_plan(bundle, made).overlay()
    parser = ConfigParser({**made.configs["train"], **overlay, "bundle_root": "."})
    network = parser.get_parsed_content("network_def")
    assert (network.encoder.channels, network.encoder.blocks) == (small.widths, small.blocks)
    assert len(network(torch.zeros(1, 1 if bundle == "anatomask" else 2, 16, 16, 16))) >= 1


def test_a_bundle_without_such_a_network_says_which_have_one(make_facts):
    with pytest.raises(ConfigError, match=r"amlp cannot start from; there are anatomask \(ResEnc and STU-Net\)"):
        planned("amlp", make_facts(modalities=("flair",)), BRAIN)
    with pytest.raises(ConfigError, match="is of STU-Net-S, which autopet_bixlstm cannot start from"):
        planned("autopet_bixlstm", make_facts(modalities=("ct", "pet")), Pretraining("s.pt", STUNET_S))
