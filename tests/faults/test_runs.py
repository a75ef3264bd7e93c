"""Wrong commands, disks that cannot be written, and other runs in the same folder."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from commands import ROOT
from fault_subjects import SUBJECTS

from monai_ext.networks import read_checkpoint


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("wrong", "near"),
    [("datset_dir", "dataset_dir"), ("ouptut_dir", "output_dir"), ("network_deff", "network_def")],
)
@pytest.mark.parametrize("file", ["train.json", "evaluate.json", "inference.json"])
def test_a_misspelt_override_stops_the_run(bundle, dataset, file, wrong, near):
    run = bundle.run("run", file, {wrong: "x", "output_dir": bundle.folder / "out"})
    run.assert_error(2, f"{wrong!r} (did you mean {near!r}?)")
    assert not (bundle.folder / "out").exists()


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["monai_ext.check", "--datalist", "x", "--dataset_dir", "y", "--sectoin", "z"], "--section"),
        (["monai_ext.datalist", "picai", "--root", "x", "--out", "y", "--num_fold", "3"], "--num_folds"),
    ],
)
def test_a_misspelt_option_of_our_commands(command, words, near):
    command("-m", *words).assert_error(2, words[-2], f"did you mean {near}?")


@pytest.mark.row(35)
@pytest.mark.parametrize("key", ["output_dir", "model"])
def test_a_place_that_cannot_be_written(bundle, dataset, tmp_path, key):
    """Root may write everywhere except below a file."""
    (tmp_path / "file").write_text("")
    place = tmp_path / "file/out" / ("model.pt" if key == "model" else "")
    run = bundle.train(dataset, {key: place})
    run.assert_error(2, "cannot write", tmp_path / "file/out")
    assert "training: " not in run.stderr  # no progress bar: nothing was trained


@pytest.fixture
def mount(tmp_path):
    """``mount(folder, *options)`` of a file system that ends with the test; skips where that is not allowed."""
    mounted = []

    def attach(folder, *arguments):
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)

    yield attach
    for folder in filter(os.path.ismount, reversed(mounted)):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.row(35)
def test_a_read_only_bundle(bundle, dataset, mount, tmp_path):
    """The bundle's own folder on a read-only disk: the defaults of output, weights and cache lie below it."""
    root = tmp_path / "bundles"
    (root / bundle.subject.name).mkdir(parents=True)
    source = ROOT / "bundles" / bundle.subject.name
    for part in ("configs", "docs"):
        subprocess.run(["cp", "-r", str(source / part), str(root / bundle.subject.name)], check=True)
    mount(root, "--bind", str(root))
    mount(root, "-o", "remount,ro,bind")
    config = root / bundle.subject.name / "configs/train.json"
    data = {"--dataset_dir": dataset.root, "--datalist": dataset.path}
    words = [str(word) for pair in data.items() for word in pair]
    run = bundle.command("-m", "monai.bundle", "run", "--config_file", config, *words)
    run.assert_error(2, f"cannot write to {root / bundle.subject.name / 'output'}", "Read-only", "--output_dir")
    assert not (root / bundle.subject.name / "output").exists()


@pytest.mark.row(25)
def test_a_disk_that_is_full_keeps_what_was_there(bundle, dataset, mount, tmp_path):
    disk = tmp_path / "out"
    mount(disk, "-t", "tmpfs", "-o", "size=256m", "tmpfs")
    (tmp_path / "preview").mkdir()  # pictures can be larger than the weights
    (disk / "preview").symlink_to(tmp_path / "preview", target_is_directory=True)
    assert bundle.train_and_kill(dataset, epochs=2).returncode == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in disk.glob("*.pt")}  # a model.pt only if an epoch was a best one
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    room = min(map(len, before.values())) * 3 // 4  # not enough for weights
    with open(disk / "filler", "wb") as filler:
        filler.write(b"\0" * (free - room))
    run = bundle.train(dataset, {"resume": True, "max_epochs": 2})
    run.assert_error(4, "cannot write", "The previous file, if any, is untouched")
    assert before == {name: (disk / name).read_bytes() for name in before}
    assert not [path for path in disk.iterdir() if path.name.startswith((".last", ".model")) and path.suffix != ".lock"]
    (disk / "filler").unlink()
    assert bundle.train(dataset, {"resume": True, "max_epochs": 2}).returncode == 0


@pytest.mark.row(25)
def test_a_full_disk_under_the_cache(bundle, dataset, mount, tmp_path):
    disk = tmp_path / "cache"
    mount(disk, "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    run = bundle.train(dataset, {"cache_dir": disk})
    run.assert_error(2, f"cannot write the cache {disk}", "--cache_dir")
    assert not [path for path in disk.iterdir() if path.name.startswith(".")]  # no half file is left


@pytest.mark.row(25)
def test_a_full_disk_under_the_predictions(bundle, dataset, mount, tmp_path):
    disk = tmp_path / "inference"
    mount(disk, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    item = {key: str(dataset.root / path) for key, path in dataset.case.items() if str(path).endswith(".nii.gz")}
    item = {"id": "case7"} | {key: path for key, path in item.items() if key != "label"}
    assert bundle.infer(item).returncode == 0
    before = {path: path.read_bytes() for path in disk.rglob("*_seg.nii.gz")}
    assert len(before) == 1
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(disk / "filler", "wb") as filler:
        filler.write(b"\0" * free)
    bundle.infer(item, {"redo": True}).assert_error(2, "cannot write", "case7", disk, "No space left", "--output_dir")
    assert before == {path: path.read_bytes() for path in disk.rglob("*.nii.gz") if path in before}
    assert not [path for path in disk.rglob(".*.nii.gz")]  # no half file is left


@pytest.mark.row(25)
def test_a_limit_of_the_file_size_is_a_full_disk(bundle, dataset):
    """If nothing can be mounted, RLIMIT_FSIZE makes the same writes fail."""
    limit = bundle.weights.stat().st_size // 2
    run = bundle.train(dataset, limits={"FSIZE": limit})
    assert run.returncode in (2, 4), run.output[-3000:]
    run.assert_error(run.returncode, "cannot write")
    bundle.assert_nothing_written((".pt", ".gz"))  # a picture that was drawn before is whole


@pytest.mark.row(33)
def test_two_runs_at_once_in_one_folder(bundle, dataset, tmp_path):
    """Of two processes started together, one trains to the end and the other stops without writing."""
    words = bundle.words("run", "train.json", bundle.training(dataset) | {"max_epochs": 2})
    runs = bundle.command.together([words, words])
    assert sorted(run.returncode for run in runs) == [0, 2], runs
    loser = max(runs, key=lambda run: run.returncode)
    loser.assert_error(2, "another run is writing to", tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["epochs"] == 2
    assert report["weights"]["sha256"] == hashlib.sha256((tmp_path / "out/model.pt").read_bytes()).hexdigest()
    read_checkpoint(tmp_path / "out/last.pt")


@pytest.mark.row(33)
def test_a_run_that_is_gone_blocks_nobody(bundle, dataset, tmp_path):
    """The lock ends with its process, also when the process is killed."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.lock").write_text("")
    code = f"import time; from monai_ext.data.io.claim import claim; claim({str(tmp_path / 'out')!r}); "
    holder = subprocess.Popen([sys.executable, "-c", code + "print(1, flush=True); time.sleep(99)"], stdout=-1)
    holder.stdout.readline()
    bundle.train(dataset).assert_error(2, "another run is writing to", tmp_path / "out")
    holder.kill()
    holder.communicate()
    assert bundle.train(dataset).returncode == 0


def test_every_bundle_is_here():
    found = {path.parent.parent.name for path in ROOT.glob("bundles/*/configs/metadata.json")}
    assert set(SUBJECTS) == found, "name the bundle in tests/faults/fault_subjects.py"


@pytest.mark.row(33)
def test_a_run_killed_with_its_workers_running_is_resumed_at_once(bundle, dataset, tmp_path):
    """Workers that outlive the run for some seconds do not hold what it had claimed."""
    workers = {"num_workers": 2, "max_epochs": 3}
    saved = tmp_path / "out/last.pt"
    assert bundle.train(dataset, workers, kill_when=saved.exists).returncode == -signal.SIGKILL
    resumed = bundle.train(dataset, workers | {"resume": True})
    assert resumed.returncode == 0, resumed.output[-3000:]
    assert "going on after step" in resumed.output


@pytest.mark.row(51)
@pytest.mark.parametrize(("workers", "group"), [(0, False), (2, False), (2, True)])
def test_sigterm_before_and_during_a_training(bundle, dataset, tmp_path, workers, group):
    """Each time the run ends with its own exit code, and it ends at the weights of an uninterrupted one.

    Some schedulers send the signal to all processes of a run, those that load data included.
    """
    settings = {"num_workers": workers, "max_epochs": 3}
    whole = {"output_dir": tmp_path / "whole", "model": tmp_path / "whole/model.pt"}
    assert bundle.train(dataset, settings | whole).returncode == 0
    for begun in (tmp_path / "out/.lock", tmp_path / "out/last.pt"):
        run = bundle.train(dataset, settings | {"resume": True}, kill_when=begun.exists, by=signal.SIGTERM, group=group)
        assert run.returncode == 7, run.output[-3000:]
        assert "stopped by SIGTERM. The same command with --resume true goes on" in run.output
        assert "Traceback" not in run.output
        assert not [
            path for path in (tmp_path / "out").rglob(".*") if not path.name.endswith(".lock")
        ]  # no half file is left
    assert bundle.train(dataset, settings | {"resume": True}).returncode == 0
    assert (tmp_path / "out/model.pt").read_bytes() == (tmp_path / "whole/model.pt").read_bytes()


@pytest.mark.slow
@pytest.mark.row(51)
def test_sigterm_under_torchrun(bundle, dataset, tmp_path):
    """torchrun hands it to all processes, which end after the same step."""

    def train(folder, terminate=False):
        where = {"output_dir": folder, "model": folder / "model.pt", "max_epochs": 6, "resume": True}
        words = map(str, bundle.words("run", "train.json", bundle.training(dataset) | where))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen([sys.executable, *launcher, *words], cwd=ROOT, stdout=log, stderr=log)
            while terminate and process.poll() is None and not (folder / "last.pt").exists():
                time.sleep(0.01)
            if terminate:
                process.terminate()
            return process.wait(timeout=280), (tmp_path / "log").read_text()

    code, text = train(tmp_path / "whole")
    assert code == 0, text[-3000:]
    code, text = train(tmp_path / "ended", terminate=True)
    assert code != 0
    assert text.count("stopped by SIGTERM") == 2, text[-3000:]
    saved = read_checkpoint(tmp_path / "ended/last.pt")
    assert saved["iteration"] < read_checkpoint(tmp_path / "whole/last.pt")["iteration"]
    code, text = train(tmp_path / "ended")
    assert code == 0, text[-3000:]
    assert f"in epoch {saved['epoch']} of 6" in text
    one, other = (read_checkpoint(tmp_path / folder / "last.pt") for folder in ("whole", "ended"))
    for name, value in one["objects"]["network"].items():
        assert torch.equal(value, other["objects"]["network"][name]), name


@pytest.mark.row(51)
def test_sigterm_ends_an_inference(bundle, dataset, tmp_path):
    item = {key: str(dataset.root / path) for key, path in dataset.case.items() if str(path).endswith(".nii.gz")}
    run = bundle.infer({"id": "a"} | item, kill_when=(tmp_path / "inference/.lock").exists, by=signal.SIGTERM)
    assert run.returncode == 7, run.output[-3000:]
    assert bundle.infer({"id": "a"} | item).returncode == 0
