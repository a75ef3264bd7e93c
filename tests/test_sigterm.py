"""SIGTERM ends a process at once, or when it says so, with exit code 7."""

import signal
import subprocess
import sys
import time

import pytest

BEGIN = "import sys, time, signal; from monai_ext.sigterm import *; from monai_ext import sigterm; end_on_sigterm()\n"


def end(code):
    """Exit code and output of a process that gets SIGTERM once it has printed its first line."""
    process = subprocess.Popen([sys.executable, "-c", BEGIN + code], stdout=-1, stderr=-2, text=True)
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[0]
    return process.returncode, first + rest


WAIT = "print('begun', flush=True)\nfor _ in range(600): time.sleep(0.1)\n"


def test_it_ends_at_once_and_tidies_up():
    tidy = "try:\n" + "".join(f"    {line}\n" for line in WAIT.splitlines()) + "finally:\n    print('tidied up')"
    code, output = end(tidy)
    assert code == 7
    assert "tidied up" in output
    assert "Traceback" not in output


def test_no_fault_of_a_case_swallows_it():
    assert end("try:\n    print('begun', flush=True); time.sleep(60)\nexcept Exception: print('swallowed')")[0] == 7


def test_a_step_is_finished_first():
    step = "finish_step(True)\nprint('begun', flush=True)\nwhile not is_asked(): time.sleep(0.05)\nprint('step done')\n"
    for then in ("stop()", "finish_step(False)\nprint('too late')"):
        code, output = end(step + then)
        assert code == 7
        assert "step done" in output
        assert "too late" not in output


def test_who_has_an_answer_of_his_own_keeps_it():
    own = "signal.signal(signal.SIGTERM, lambda *_: (print('mine'), sys.exit(3)))\nend_on_sigterm()\n"
    assert end(own + WAIT) == (3, "begun\nmine\n")


@pytest.mark.parametrize(("seconds", "least", "most"), [(1, 0.9, 20), (30, 2.5, 20)])
def test_a_worker_lives_some_seconds_longer(seconds, least, most):
    """It ends by itself in three, or by its alarm."""
    started = time.time()
    work = "print(0, flush=True)\nend = time.time() + 3\nwhile time.time() < end: time.sleep(0.1)"
    code, _ = end(f"outlast_sigterm(None, {seconds}, 0)\n{work}")
    assert code == (-signal.SIGALRM if seconds == 1 else 0)
    assert least < time.time() - started < most
