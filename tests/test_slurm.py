"""The command that ci/slurm-train starts, seen by programs that stand in for SLURM's and Python."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def commands(tmp_path):
    """A folder of programs that print how they were called."""
    for name, text in {
        "bin/python": 'echo "python $@"; echo "job ${SLURM_JOB_ID:-none}"',
        "srun": 'echo "srun $1"; shift; exec "$@"',
        "scontrol": 'printf "node7\\nnode8\\n"',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)
    return tmp_path


def start(commands, *arguments, **environment):
    path = f"{commands}:{os.environ['PATH']}"
    env = {"PATH": path, "VENV": str(commands), "SLURM_SUBMIT_DIR": str(ROOT), **environment}
    return subprocess.run([ROOT / "ci/slurm-train", *arguments], env=env, capture_output=True, text=True)


def test_every_node_starts_a_process_per_gpu_and_meets_at_the_first_node(commands):
    job = {
        "SLURM_JOB_ID": "5",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_JOB_NODELIST": "node[7-8]",
    }
    shown = start(commands, "prostate_mae", "--resume", "true", **job).stdout
    assert shown.startswith(
        "srun --kill-on-bad-exit=1\npython -W ignore -m torch.distributed.run --nnodes 2 --nproc_per_node 4"
    )
    assert "--rdzv_endpoint node7:29500 --rdzv_id 5" in shown
    assert shown.endswith("job none\n")  # else Ignite gives each process of a node the local rank of srun's one task
    configs = "bundles/prostate_mae/configs"
    assert (
        f"run training --config_file ['{configs}/train.json','{configs}/multi_gpu_train.json'] --resume true" in shown
    )


def test_without_slurm_it_is_this_machine(commands):
    shown = start(commands, "amlp").stdout
    assert shown.startswith("python ")
    assert "--nnodes 1 --nproc_per_node 1" in shown


def test_a_bundle_has_to_be_named(commands):
    run = start(commands)
    assert run.returncode != 0
    assert "usage: sbatch" in run.stderr
