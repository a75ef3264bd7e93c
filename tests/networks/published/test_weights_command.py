"""``python -m monai_ext.weights``."""

import runpy
import sys

import pytest
from published_networks import stunet_small

from monai_ext.errors import ConfigError
from monai_ext.networks.published import REGISTER
from monai_ext.weights import list_published, show


def test_list_and_show():
    text = list_published()
    assert all(name in text for name in REGISTER)
    shown = show("openmind_mae")
    for fact in ("CC-BY-4.0", "1 x 1 x 1 mm", "160 x 160 x 160  (unverified)", "arXiv:2412.17041", "nobody with"):
        assert fact in shown
    assert "no weights have been released" in show("spark_stunet_base")
    with pytest.raises(ConfigError, match="no published encoder 'openmind_mea'; did you mean 'openmind_mae'"):
        show("openmind_mea")


def test_the_command(write, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["weights", *words])
        try:
            runpy.run_module("monai_ext.weights", run_name="__main__")
        except SystemExit as end:
            return end.code
        return 0

    file = str(stunet_small(write))
    assert [run("list"), run("show", "stunet_small"), run("verify", "stunet_small", file)] == [0, 0, 0]
    printed = capsys.readouterr().out
    assert "openmind_mae" in printed
    assert "Apache-2.0" in printed
    assert "read right" in printed
    assert run("verify", "stunet_large", file) == 4
    assert capsys.readouterr().err.startswith(f"error: {file}: the weights are of STU-Net-S, the network is STU-Net-L")
    assert run("show", "nothing") == 2
