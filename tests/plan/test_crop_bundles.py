"""Channels of the networks of crops."""

from monai_ext.plan.crop_bundles import channels_of


def test_channels_double_up_to_320():
    assert channels_of(32, 5) == [32, 64, 128, 256, 320, 320]
