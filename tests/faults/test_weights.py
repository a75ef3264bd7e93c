"""Weights and checkpoints that are damaged, hostile, or of another network."""

import os
import pickle
import re
import signal
import zipfile

import pytest
import torch

from monai_ext.networks import read_checkpoint


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def write_malicious(kind, path, marker):
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"model": Malicious(marker)}))
    elif kind == "torch":
        torch.save({"model": Malicious(marker)}, path)
    elif kind == "old torch":
        torch.save({"model": Malicious(marker)}, path, _use_new_zipfile_serialization=False)
    else:  # a good file whose pickle was replaced
        torch.save({"weight": torch.ones(2)}, path)
        with zipfile.ZipFile(path) as archive:
            names = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in names.items():
                archive.writestr(name, pickle.dumps(Malicious(marker)) if name.endswith("data.pkl") else content)


@pytest.mark.row(21)
@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch", "swapped"])
def test_pickled_code_is_never_run(bundle, dataset, tmp_path, kind):
    marker, path = tmp_path / "executed", tmp_path / "weights.pt"
    write_malicious(kind, path, marker)
    if kind == "pickle":  # the file does harm in careless hands
        pickle.loads(path.read_bytes())
        assert marker.exists()
        marker.unlink()
    item = {"id": "case7", bundle.subject.first: str(dataset.file(bundle.subject.first))}
    bundle.infer(item, {"model": path}).assert_error(4, path, "pickled objects, which are never loaded")
    assert not marker.exists()


@pytest.mark.row(21)
def test_a_resumed_checkpoint_runs_no_code_either(bundle, dataset, tmp_path):
    marker, out = tmp_path / "executed", bundle.folder / "out"
    out.mkdir()
    for name in ("last.pt", "previous.pt"):
        write_malicious("torch", out / name, marker)
    bundle.train(dataset, {"resume": True}).assert_error(4, out / "last.pt", "can be read", "Start without --resume")
    assert not marker.exists()


@pytest.mark.row(22)
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_truncated_weights(bundle, dataset, keep):
    content = bundle.weights.read_bytes()
    path = bundle.folder / "cut.pt"
    path.write_bytes(content[: int(keep * len(content))])
    item = {"id": "case7", bundle.subject.first: str(dataset.file(bundle.subject.first))}
    bundle.infer(item, {"model": path}).assert_error(4, path, "damaged")


@pytest.mark.row(23)
def test_weights_of_another_network(bundle, dataset):
    state = torch.load(bundle.weights, weights_only=True)
    other = bundle.folder / "other.pt"
    torch.save({f"somewhere.{name}": value for name, value in state.items()}, other)
    item = {"id": "case7", bundle.subject.first: str(dataset.file(bundle.subject.first))}
    counts = f"only 0 of {len(state)} parameters", "matched 0", f"unexpected {len(state)}"
    bundle.infer(item, {"model": other}).assert_error(4, other, *counts)
    torch.save({name: torch.zeros(*value.shape, 2) for name, value in state.items()}, other)
    bundle.infer(item, {"model": other}).assert_error(4, other, "other shapes")
    bundle.assert_no_images()


@pytest.mark.row(23)
@pytest.mark.only_for(lambda subject: "pretrained" in subject.train, "bundles whose training starts from other weights")
def test_pretrained_weights_that_match_nothing_do_not_start_a_training(bundle, dataset):
    other = bundle.folder / "other.pt"
    torch.save({"somewhere.weight": torch.ones(3)}, other)
    bundle.train(dataset, {"pretrained": other}).assert_error(4, other, "matched 0")
    assert not (bundle.folder / "out/model.pt").exists()


@pytest.mark.row(24, 27)
def test_a_finished_run_and_a_loss_that_is_not_finite(bundle, dataset):
    out = bundle.folder / "out"
    assert bundle.train(dataset).returncode == 0
    good = {path.name: path.read_bytes() for path in out.glob("*.pt")}
    assert {"model.pt", "last.pt"} <= good.keys()
    for path in out.glob("*.pt"):
        assert_finite(read_checkpoint(path))

    again = bundle.train(dataset, {"resume": True})
    assert again.returncode == 0
    assert "this run is finished; nothing to resume" in again.output
    assert good == {path.name: path.read_bytes() for path in out.glob("*.pt")}

    hot = {"max_epochs": 4, bundle.subject.learning_rate: 1e30}
    diverged = bundle.train(dataset, hot)
    diverged.assert_error(5, "The last good checkpoint is kept")
    assert re.search("the loss became (nan|-?inf)|not finite", diverged.stderr)
    for path in out.glob("*.pt"):
        assert_finite(read_checkpoint(path)["objects"]["network"] if "last" in path.name else read_checkpoint(path))


@pytest.mark.row(22)
def test_resume_takes_the_checkpoint_before_a_truncated_one(bundle, dataset):
    out = bundle.folder / "out"
    assert bundle.train_and_kill(dataset, epochs=3).returncode == -signal.SIGKILL
    content, epoch = (out / "last.pt").read_bytes(), read_checkpoint(out / "last.pt")["epoch"]
    (out / "previous.pt").write_bytes(content)
    (out / "last.pt").write_bytes(content[: len(content) // 2])
    resumed = bundle.train(dataset, {"resume": True, "max_epochs": 3})
    assert resumed.returncode == 0, resumed.output[-3000:]
    assert "trying the one before" in resumed.output
    assert f"in epoch {epoch} of 3" in resumed.output
    assert read_checkpoint(out / "last.pt")["epoch"] == 3


def assert_finite(content):
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert torch.isfinite(value).all()
        assert_finite(value)
