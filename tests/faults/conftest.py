"""A bundle, a small data set to damage, and the commands of the bundle on it."""

import json
import os

import pytest
import torch
from commands import server
from fault_subjects import SUBJECTS, DataSet, shrink
from monai.bundle import ConfigParser

# All tests of one bundle are fast ones; the fast ones of the others are those that go through most of the layers.
FAST_BUNDLE = "prostate_mae"
FAST = {
    "test_all_faults_are_in_one_error",
    "test_headers_and_voxels_of_all_cases_in_one_go",
    "test_a_missing_modality_is_named",
    "test_a_misspelt_override_stops_the_run",
    "test_pickled_code_is_never_run",
    "test_weights_of_another_network",
    "test_a_label_with_values_it_must_not_have",
    "test_voxels_that_are_not_finite",
    "test_a_read_only_bundle",
}


def pytest_collection_modifyitems(items):
    """Most bundles' tests are slow ones."""
    for item in items:
        if "faults" in item.path.parts:
            name = getattr(getattr(item, "callspec", None), "params", {}).get("subject_name", FAST_BUNDLE)
            if name != FAST_BUNDLE and item.originalname not in FAST:
                item.add_marker(pytest.mark.slow)


def pytest_generate_tests(metafunc):
    if "subject_name" in metafunc.fixturenames:
        kinds = [mark.args[0] for mark in metafunc.definition.iter_markers("only_for")]
        names = [name for name, subject in SUBJECTS.items() if all(kind(subject) for kind in kinds)]
        metafunc.parametrize("subject_name", names, scope="session")


@pytest.fixture(scope="session")
def subject(subject_name):
    return SUBJECTS[subject_name]


@pytest.fixture(scope="session")
def command():
    """``command("-m", module, ...)`` as on the command line."""
    return server()


@pytest.fixture(scope="session")
def small(subject, tmp_path_factory):
    """Folder of the small data set of a bundle, whole."""
    folder = tmp_path_factory.mktemp(f"data_{subject.name}")
    shrink(subject, folder)
    return folder


@pytest.fixture(scope="session")
def cache(subject, tmp_path_factory):
    """Cache that the tests of one bundle share, so unchanged cases are prepared once."""
    return tmp_path_factory.mktemp(f"cache_{subject.name}")


@pytest.fixture(scope="session")
def overlay(subject, tmp_path_factory):
    path = tmp_path_factory.mktemp(f"overlay_{subject.name}") / "small.json"
    path.write_text(json.dumps(subject.overlay))
    return path


@pytest.fixture(scope="session")
def weights(subject, overlay, tmp_path_factory):
    """Untrained weights of the small network."""
    parser = ConfigParser()
    parser.read_config([str(subject.config("inference.json")), str(overlay)])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(f"weights_{subject.name}") / "model.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


@pytest.fixture
def dataset(small, tmp_path):
    return DataSet(small, tmp_path / "data")


class Bundle:
    """Commands of one bundle on one data set, which write below ``folder``."""

    def __init__(self, subject, command, overlay, weights, cache, folder):
        self.subject, self.command, self.overlay = subject, command, overlay
        self.weights, self.cache, self.folder = weights, cache, folder

    def words(self, run_id, file, settings):
        """The command line as a list."""
        files = repr([str(self.subject.config(file)), str(self.overlay)])
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        return ["-m", "monai.bundle", "run", run_id, "--config_file", files, *words]

    def run(self, run_id, file, settings, **options):
        return self.command(*self.words(run_id, file, settings), **options)

    def data(self, dataset):
        """Where a run reads and writes; nothing of other runs of the bundle, which lie in ``bundles/``, is found."""
        places = {"run_dir": self.folder / "run", "cache_dir": self.cache}
        return {"dataset_dir": dataset.root, "datalist": dataset.path, **places}

    def training(self, dataset):
        """Settings of the supervised phase: one epoch from random weights."""
        out = {"output_dir": self.folder / "out", "model": self.folder / "out/model.pt"}
        return self.data(dataset) | out | self.subject.train

    def train(self, dataset, settings=None, **options):
        return self.run("run", "train.json", self.training(dataset) | (settings or {}), **options)

    def train_and_kill(self, dataset, epochs):
        """A training of so many epochs that is killed once the first is saved."""
        saved = self.folder / "out/last.pt"
        return self.train(dataset, {"max_epochs": epochs}, kill_when=saved.exists)

    def evaluate(self, dataset, settings=None, **options):
        out = {"output_dir": self.folder / "evaluate", "model": self.weights}
        return self.run("evaluating", "evaluate.json", self.data(dataset) | out | (settings or {}), **options)

    def infer(self, item, settings=None, **options):
        """Inference on one item, files only."""
        out = {"run_dir": self.folder / "run", "output_dir": self.folder / "inference", "model": self.weights}
        out["datalist"] = repr([item])
        return self.run("inference", "inference.json", out | (settings or {}), **options)

    def background_weights(self):
        """Weights whose every prediction is background: the biases of the last layers decide."""
        state = torch.load(self.weights, weights_only=True)
        for name, value in state.items():
            if name.endswith("bias") and value.shape == (self.subject.classes,):
                state[name] = torch.tensor([1e6] + [-1e6] * (self.subject.classes - 1))
        torch.save(state, self.folder / "background.pt")
        return self.folder / "background.pt"

    def assert_nothing_written(self, suffixes=(".pt", ".gz", ".png")):
        """No weights, checkpoint or image came out of a run that failed, nor a part of one."""
        files = [p for p in self.folder.rglob("*") if "data" not in p.parts and p.suffix != ".lock"]
        left = [p for p in files if set(p.suffixes) & set(suffixes)]
        assert not left, left

    def assert_no_images(self):
        self.assert_nothing_written((".gz", ".png"))


@pytest.fixture(scope="session")
def bundle_in(subject, command, overlay, weights, cache):
    """``bundle_in(folder)``: the bundle's commands, which write below a folder."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return lambda folder: Bundle(subject, command, overlay, weights, cache, folder)


@pytest.fixture
def bundle(bundle_in, tmp_path):
    return bundle_in(tmp_path)
