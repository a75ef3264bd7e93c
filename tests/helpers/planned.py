"""A device for the tests of plans: its steps cost in proportion to voxels and to the width to the power 1.5."""

import math
from pathlib import Path

from monai.bundle import ConfigParser

from monai_ext.networks.nets.stunet import STUNET_SIZES
from monai_ext.plan.context import Context
from monai_ext.plan.device_facts import StepCost

ROOT = Path(__file__).parents[2] / "bundles"


def context(bundle, facts, minutes=15.0, memory=8.0, seconds_per_voxel=4e-6):
    """A device whose steps cost in proportion to voxels and to the width to the power 1.5."""
    folder = ROOT / bundle / "configs"
    configs = {path.stem: ConfigParser.load_config_file(path) for path in folder.glob("*.json")}
    configs = {name: config for name, config in configs.items() if "bundle_root" in config}
    calls = []

    def trial(overrides, shape, batch_size, phase):
        calls.append((overrides, tuple(shape), batch_size))
        keys = ("model_size", "channels", "network_def#channels", "features")
        widths = [overrides[key] for key in keys if key in overrides]
        network = overrides.get("network_def", {})
        widths += [network["channels"]] if isinstance(network.get("channels"), list) else []
        width = widths[0] if widths else 16
        width = STUNET_SIZES[width][0] if isinstance(width, str) else width[0] if isinstance(width, list) else width
        load = math.prod(shape[1:]) * batch_size * (width / 16) ** 1.5
        return StepCost(load * seconds_per_voxel / 2, 0.5 + load * 1000 / 2**30)

    made = Context(ROOT / bundle, configs, facts, facts.labelled, minutes, memory, trial=trial)
    return made, calls
