"""Bundles through the command line."""

import os
import subprocess
import sys
from pathlib import Path

import commands

ROOT = Path(__file__).parents[2]


def bundle_command(run_id, *configs, launcher=(), **overrides):
    """``python -m monai.bundle run`` as a user types it."""
    files = [str(c) for c in configs]
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", run_id, "--config_file"]
    command += [files[0] if len(files) == 1 else repr(files)]
    return command + [word for key, value in overrides.items() for word in (f"--{key}", str(value))]


def run_bundle(run_id, *configs, cwd, check=True, env=None, launcher=(), **overrides):
    """Run it to its end, in a fork unless a launcher starts it."""
    command = bundle_command(run_id, *configs, launcher=launcher, **overrides)
    if launcher:
        env = {**os.environ, **(env or {})}
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1500, env=env)
    else:
        result = commands.run(*command[1:], cwd=cwd, timeout=1500, env=env)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return result
