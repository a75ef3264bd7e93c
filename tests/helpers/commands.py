"""Commands as a user types them, run in forks of one prepared process."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class Result:
    """Result of a command: exit code (minus the signal if one killed it), both streams, time and memory."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    peak_mb: float

    @property
    def output(self):
        return self.stdout + self.stderr

    def assert_error(self, code, *parts):
        """It ended with this exit code and one readable error that holds all parts, without a traceback."""
        shown = f"exit code {self.returncode}\n{self.stdout[-2000:]}\n{self.stderr[-4000:]}"
        assert self.returncode == code, shown
        assert "Traceback" not in self.output, shown
        message = self.stderr[self.stderr.rfind("error: ") :]
        assert message.startswith("error: "), shown
        for part in parts:
            assert str(part) in message, f"{part!r} is not in: {message}\n{shown}"
        return message


class Commands:
    """``python -m ...`` in forks of a server."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        assert json.loads(self.server.stdout.readline()) == {"ready": True}

    def __call__(self, *arguments, **options):
        return self.together([arguments], **options)[0]

    def together(
        self,
        commands,
        cwd=ROOT,
        env=None,
        limits=None,
        timeout=300,
        kill_when=None,
        by=signal.SIGKILL,
        group=False,
        watch=None,
    ):
        """Several commands at once; ``kill_when`` sends a signal to the first one as soon as it returns True.

        ``group`` sends it to the processes that the command started too.

        ``watch`` are the arguments of ``file_events.watch``.
        """
        requests = [
            {
                "argv": [str(argument) for argument in arguments],
                "cwd": str(cwd),
                "env": {**os.environ, **ENVIRONMENT, **(env or {})},
                "limits": limits or {},
                "watch": watch,
                **{name: str(Path(self.folder.name) / f"{name}{number}") for name in ("stdout", "stderr")},
            }
            for number, arguments in enumerate(commands)
        ]
        started = time.time()
        print(json.dumps(requests), file=self.server.stdin, flush=True)
        pids = json.loads(self.server.stdout.readline())["pids"]
        timed_out = threading.Event()

        def stop():
            timed_out.set()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

        timer = threading.Timer(timeout, stop)
        timer.start()
        if kill_when is not None:
            while Path(f"/proc/{pids[0]}").exists() and not timed_out.is_set():
                if kill_when():
                    (os.killpg if group else os.kill)(pids[0], by)
                    break
                time.sleep(0.002)
        ended = json.loads(self.server.stdout.readline())
        timer.cancel()
        results = []
        for request, end in zip(requests, ended):
            texts = {name: Path(request[name]).read_text(errors="replace") for name in ("stdout", "stderr")}
            results.append(Result(seconds=time.time() - started, **end, **texts))
        assert not timed_out.is_set(), f"no end after {timeout} s\n{results[0].output[-3000:]}"
        return results

    def close(self):
        self.server.kill()
        self.server.communicate()
        self.folder.cleanup()


@cache
def server():
    """The one that all tests of a process share."""
    commands = Commands()
    atexit.register(commands.close)
    return commands


def run(*arguments, **options):
    """``run("-m", module, ...)``: the same as ``python -m module ...``, without the seconds that its imports take."""
    return server()(*arguments, **options)
