"""The folder of real scans, the time there is for tests, and their distribution over processes."""

import os
import re
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """``real_data("sts_petct")``: the folder of a real data set; skips the test where there is none."""
    root = os.environ.get("MONAI_EXT_REAL_DATA")

    def find(name):
        if not root or not (Path(root) / name).is_dir():
            pytest.skip(f"MONAI_EXT_REAL_DATA does not name a directory with {name}")
        return Path(root) / name

    return find


@pytest.fixture(autouse=True)
def no_bundle_is_running(monkeypatch):
    """A test of the same process that evaluated a config leaves nothing that tells what makes a product."""
    monkeypatch.setattr("monai_ext.bundle._root", None)
    monkeypatch.setattr("monai_ext.bundle._record", None)


def pytest_runtest_setup(item):
    """``TESTS_UNTIL``, seconds since 1970, ends a run on a slow machine in time: what is left is counted as skipped."""
    if time.time() > float(os.environ.get("TESTS_UNTIL", "inf")):
        pytest.skip("no time is left for it (TESTS_UNTIL)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One process runs all tests of one bundle, whose demo is then trained once, and one the tests of faults.

    Not by marks of the group: xdist 3.8 writes them into the name of a test, which pytest 9.2 does not let it change.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith("tests/faults") and "test_kill" not in nodeid:
                return "faults"
            bundle = re.match(r"tests/bundles/test_(?:contract|runs|pack|processes)\.py::.*\[(\w+)\]$", nodeid)
            return bundle[1] if bundle else nodeid

    return Scheduling(config, log)
