"""How several processes share the tests."""

import re

import pytest


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
            bundle = re.match(r"tests/bundles/test_(?:contract|runs|pack)\.py::.*\[(\w+)\]$", nodeid)
            return bundle[1] if bundle else nodeid

    return Scheduling(config, log)
