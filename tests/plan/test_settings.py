"""An overlay, and the table that explains it."""

from monai_ext.plan.settings import Plan, Setting


def test_overlay_and_table():
    plan = Plan([Setting("lr", 0.001, "few steps", 0.01), Setting("pretrain#lr", 0.002, "fewer", 0.002)], ["beware"])
    assert plan.overlay() == {"lr": 0.001, "pretrain": {"lr": 0.002}}
    table = plan.table().splitlines()
    assert table[1].split() == ["lr", "0.001", "0.01", "few", "steps"]
    assert table[2].split() == ["pretrain#lr", "0.002", "same", "fewer"]
    assert table[-1] == "warning: beware"
