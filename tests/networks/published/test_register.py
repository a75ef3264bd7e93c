"""The register: what it holds, and what it admits not to know."""

import dataclasses

import torch

from monai_ext.networks.nets import ResidualEncoderUNet, STUNet
from monai_ext.networks.published import REGISTER, find_architecture


def test_the_register_holds_what_was_promised_and_admits_what_it_does_not_know():
    wanted = [f"stunet_{size}" for size in ("small", "base", "large", "huge")] + ["anatomask_stunet_base"]
    methods = ("mae", "s3d", "voco", "simclr", "genesis", "volume_fusion", "swinunetr")
    wanted += ["spark_stunet_base", *(f"openmind_{method}" for method in methods), "ssl3d_mae"]
    wanted += [f"missingpiece_{method}" for method in ("mae", "s3d", "genesis", "voco", "multitalent")]
    assert set(wanted) < set(REGISTER)
    fields = {field.name for field in dataclasses.fields(next(iter(REGISTER.values())))}
    for name, entry in REGISTER.items():
        assert entry.name == name
        assert set(entry.unverified) < fields
        for fact in ("architecture", "method", "learned_from", "citation", "facts_from"):
            assert getattr(entry, fact)
        for fact in ("licence", "normalization", "patch"):
            assert getattr(entry, fact) or fact in entry.unverified, f"{name}: {fact}"
        assert not entry.tried  # an entry says who read the real file, once somebody has
        assert not entry.statistics


def test_architectures_of_the_register_are_those_of_the_networks():
    with torch.device("meta"):
        built = {str(find_architecture(STUNet(size=size).state_dict())) for size in "SBLH"}
        built.add(str(find_architecture(ResidualEncoderUNet().state_dict())))
    assert {entry.architecture for entry in REGISTER.values()} == built
