"""What a run writes is its own until its process ends."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from monai_ext.data.io.claim import claim, lock_file
from monai_ext.errors import ConfigError

HOLD = "import sys, time; from monai_ext.data.io.claim import claim; claim(sys.argv[1]); print(1, flush=True); "


def other(path, then="time.sleep(60)"):
    process = subprocess.Popen([sys.executable, "-c", HOLD + then, str(path)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_path_is_claimed_once_and_the_second_learns_by_whom(tmp_path, kind):
    path = tmp_path / "models/model.pt" if kind == "file" else tmp_path
    process, _ = other(path)
    try:
        found = (
            rf"another run is writing to {path} \(process {process.pid} on {re.escape(os.uname().nodename)}, since 2"
        )
        with pytest.raises(ConfigError, match=found):
            claim(path)
    finally:
        process.kill()
        process.wait()
    claim(path)  # the lock ended with its process
    claim(path)  # this one may again
    assert lock_file(path).is_file()
    assert other(path, "pass")[1] == ""


def test_a_link_is_what_it_leads_to(tmp_path):
    model, link = tmp_path / "a/model.pt", tmp_path / "b/model.pt"
    for path in (model, link):
        path.parent.mkdir()
    model.write_text("weights")
    link.symlink_to(model)
    claim(model)
    assert other(link, "pass")[1] == ""
    claim(link)  # it is its own already


def test_another_file_of_the_folder_is_free(tmp_path):
    claim(tmp_path / "a.pt")
    assert other(tmp_path / "b.pt", "pass")[1] == "1\n"


def test_a_fork_does_not_hold_the_lock_of_a_killed_process(tmp_path):
    """As the processes that load data do not."""
    process, _ = other(tmp_path, "import os; os.fork() or print(os.getpid(), flush=True); time.sleep(60)")
    fork = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        os.kill(fork, 0)  # it lives
        claim(tmp_path)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to"):
        claim(tmp_path / "file/model.pt")


def test_a_lock_that_tells_nothing_yet(tmp_path):
    process, _ = other(tmp_path)
    lock_file(tmp_path).write_text("")
    try:
        with pytest.raises(ConfigError, match=rf"writing to {tmp_path}\. Wait"):
            claim(tmp_path)
    finally:
        process.kill()
        process.wait()


def test_of_two_runs_that_start_at_once_the_second_still_learns_by_whom(tmp_path):
    with open(lock_file(tmp_path), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def tell():
            lock.write('{"process": 7, "host": "there", "since": "2026-01-01 00:00:00"}\n')
            lock.flush()

        timer = threading.Timer(0.2, tell)
        timer.start()
        with pytest.raises(ConfigError, match=r"\(process 7 on there, since 2026"):
            claim(tmp_path)
        timer.join()
