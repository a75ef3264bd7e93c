import json
import subprocess
import sys

import pytest

CALLER = """
import os
from monai_ext.bundle_process import run_bundle_process
codes = []
for arguments in {calls}:
    codes.append(run_bundle_process(arguments))
print("CODES", codes, os.getpid())
"""
CONFIG = {
    "imports": ["$import os", "$import sys"],
    "what": 1,
    "initialize": "$print('INIT')",
    "run": "$print('RAN', @what, os.getpid(), os.getppid())",
    "stop": "$sys.exit(@what)",
    "break": "$1 / 0",
    "later": "$__import__('atexit').register(print, 'LATER')",
}


@pytest.fixture
def call(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))

    def run(*calls):
        code = CALLER.format(calls=[["run", *c, f"--config_file={tmp_path / 'c.json'}"] for c in calls])
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
        return found

    return run


def test_each_run_is_a_process_with_the_exit_code_of_the_command(call):
    found = call(["run", "--what=[1, 'a']"], ["stop", "--what=5"], ["break"], ["later"], ["run", "--what=2"])
    lines = found.stdout.splitlines()
    last = next(line for line in lines if line.startswith("CODES"))
    assert last.startswith("CODES [0, 5, 1, 0, 0]")
    caller = last.split()[-1]
    ran = [line.split() for line in lines if line.startswith("RAN")]
    assert [line[1:-2] for line in ran] == [["[1,", "'a']"], ["2"]]  # parsed as on the command line
    assert [line[-1] for line in ran] == [caller, caller]
    assert len({line[-2] for line in ran} | {caller}) == 3
    assert lines.count("LATER") == 1  # what was registered for the end of the process
    assert "ZeroDivisionError" in found.stderr


def test_new_processes_elsewhere(monkeypatch):
    from monai_ext import bundle_process

    asked = []
    monkeypatch.setattr(bundle_process.sys, "platform", "darwin")
    monkeypatch.setattr(
        bundle_process.subprocess, "run", lambda command: (asked.append(command), subprocess.CompletedProcess([], 3))[1]
    )
    assert bundle_process.run_bundle_process(["run", "training"]) == 3
    assert asked == [[sys.executable, "-m", "monai.bundle", "run", "training"]]
