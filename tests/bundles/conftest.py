"""Every directory in bundles/ must fulfil the contract."""

import json
import shutil

import pytest
from running import ROOT, run_bundle

BUNDLES = sorted(path.parent.parent.name for path in ROOT.glob("bundles/*/configs/metadata.json"))


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", BUNDLES, scope="session")


def pytest_collection_modifyitems(items):
    """Only the bundle with the quickest demo trains it in the fast tests."""
    for item in items:
        name = getattr(getattr(item, "callspec", None), "params", {}).get("name")
        if name in BUNDLES and name != "amlp" and "trained" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def source(name):
    """The bundle in the repository."""
    return ROOT / "bundles" / name


@pytest.fixture(scope="session")
def configs(source):
    """All configs as they are written, by path below configs/."""
    folder = source / "configs"
    return {str(p.relative_to(folder)): json.loads(p.read_text()) for p in sorted(folder.rglob("*.json"))}


@pytest.fixture(scope="session")
def workplace(name, source, tmp_path_factory):
    """A copy of the bundle under an empty root, like a fresh clone, with a demo of two epochs."""
    root = tmp_path_factory.mktemp("root")
    ignored = shutil.ignore_patterns("output", "models", "demo", "rows", "mlruns*")
    shutil.copytree(source, root / "bundles" / name, ignore=ignored)
    demo = root / "bundles" / name / "configs/demo.json"
    demo.write_text(json.dumps(json.loads(demo.read_text()) | {"max_epochs": 2, "val_interval": 2}))
    return root


@pytest.fixture(scope="session")
def trained(name, workplace):
    """The copy after a run of the whole method on the phantom with the demo overlay."""
    folder = f"bundles/{name}/configs"
    result = run_bundle("training", f"{folder}/train.json", f"{folder}/demo.json", cwd=workplace)
    return workplace / "bundles" / name, result
