import subprocess
import sys

import pytest

from monai_ext import data, phases


@pytest.mark.parametrize("package", [data, phases])
def test_what_is_exported_on_use_is_there(package):
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Volumes'"):
        package.Volumes  # noqa: B018


def test_readers_bring_no_other_room():
    code = (
        "import sys, monai_ext.data.io.volume; print(*(name for name in sys.modules if name.startswith('monai_ext.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "monai_ext.data.io.volume" in found
    assert all(name in ("monai_ext.data", "monai_ext.errors") or "monai_ext.data.io" in name for name in found)


def test_a_config_reaches_networks_by_the_package_alone():
    code = "import monai_ext; monai_ext.data.load_datalist; print(monai_ext.networks.nets.build_reconstructor.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "build_reconstructor"
