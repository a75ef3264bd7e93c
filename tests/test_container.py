"""The container, without a daemon: the lines of its file are carried out in a folder that stands for its root."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pack_bundle import LEFT_OUT

from monai_ext.data.phantoms import CT_ORGANS, phantom
from monai_ext.networks.nets import STUNet

ROOT = Path(__file__).parents[1]
FILE = ROOT / "ci/Containerfile"
BEFORE = 3.8  # GiB of the environment when it held what tests need, and all of ITK


def read_instructions(text):
    """Keyword and rest of each line; comments left out, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Image:
    """Carries out instructions in a folder that stands for the root of all stages.

    They share one root, since a virtual environment holds its own path; in the file no two of them write one path.
    """

    def __init__(self, root, context, **arguments):
        self.root, self.context, self.arguments = root, context, arguments
        self.do_from("")

    def inside(self, path):
        return self.root / (self.folder / path).relative_to("/")

    def words(self, text):
        """A command whose absolute paths lie in this root."""
        return re.sub(r"(?<![\w.])/(opt|build|app)\b", lambda match: str(self.root / match[1]), text)

    def run(self, keyword, rest):
        getattr(self, f"do_{keyword.lower()}")(rest)

    def do_from(self, rest):
        self.folder, self.settings = Path("/"), {}

    def do_arg(self, rest):
        name, _, value = rest.partition("=")
        self.settings[name] = self.arguments.get(name, value)

    def do_env(self, rest):
        self.settings |= dict(word.split("=", 1) for word in rest.split())

    def do_workdir(self, rest):
        self.folder = Path(rest)
        self.inside(".").mkdir(parents=True, exist_ok=True)

    def do_user(self, rest):
        """Nobody else is here; its own test reads the line."""

    def do_entrypoint(self, rest):
        self.entrypoint = [self.words(word) for word in json.loads(rest)]

    def do_cmd(self, rest):
        self.default = json.loads(rest)

    def do_run(self, rest):
        result = self.call(["sh", "-ec", self.words(rest)])
        assert result.returncode == 0, f"{rest}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"

    def do_copy(self, rest):
        *sources, target = rest.split()
        stage = sources.pop(0) if sources[0].startswith("--from=") else None
        for source in sources:
            found = self.root / source.lstrip("/") if stage else self.context / source
            assert found.exists(), found
            made = self.inside(target)
            made = made / found.name if target.endswith("/") else made
            if made == found:  # from a stage to the same path of the next one
                continue
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(found, made, dirs_exist_ok=True) if found.is_dir() else shutil.copy(found, made)

    def call(self, command):
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(
            command, cwd=self.inside("."), env=kept | self.settings, capture_output=True, text=True, timeout=3000
        )


@pytest.fixture
def context(tmp_path):
    """Bundles with what runs leave in them, and a training's weights."""
    bundle = tmp_path / "context/bundles/anatomask"
    shutil.copytree(ROOT / "bundles/anatomask/configs", bundle / "configs")
    for name in ("models/model.pt", "models/model.record.json", "output/report.html", "demo/models/model.pt"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("x")
    return tmp_path / "context"


def test_what_runs_have_left_stays_out(context, tmp_path):
    image = Image(tmp_path / "root", context)
    image.do_workdir("/build")
    instructions = read_instructions(FILE.read_text())
    for number, (keyword, rest) in enumerate(instructions):
        if (keyword, rest) == ("COPY", "bundles bundles"):
            image.run(keyword, rest)
            image.run(*instructions[number + 1])
    left = {
        path.relative_to(image.root / "build/bundles/anatomask") for path in image.root.rglob("*") if path.is_file()
    }
    assert {path for path in left if path.parts[0] != "configs"} == {Path("models/model.pt")}
    assert Path("configs/inference.json") in left


def test_it_leaves_out_what_the_zip_leaves_out():
    clean = next(rest for keyword, rest in read_instructions(FILE.read_text()) if rest.startswith("find bundles"))
    names = set(re.findall(r"-name '?([^' ]+)'?", clean))
    assert names == set(LEFT_OUT) - {"__pycache__"}  # bundles hold no Python


def test_it_is_not_root_and_shows_help():
    instructions = dict(read_instructions(FILE.read_text()))  # the last of each
    assert instructions["USER"].split(":")[0] not in ("0", "root")
    assert json.loads(instructions["ENTRYPOINT"])[0].endswith("/monai-ext")
    assert instructions["CMD"] == '["--help"]'


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """All lines carried out; the build argument names the index that pip has here."""
    made = Image(tmp_path_factory.mktemp("image"), ROOT, TORCH_INDEX="https://pypi.org/simple")
    for instruction in read_instructions(FILE.read_text()):
        made.run(*instruction)
    shutil.rmtree(made.root / "build")  # the first stage, of which the image has what was copied
    return made


@pytest.mark.slow
def test_the_entry_point_lists_the_commands(image):
    result = image.call([*image.entrypoint, *image.default])
    assert result.returncode == 0, result.stderr
    assert "predict" in result.stdout


@pytest.mark.slow
def test_from_a_scan_to_a_mask(image, tmp_path):
    scans, masks, weights = (tmp_path / name for name in ("scans", "masks", "weights"))
    scans.mkdir()
    weights.mkdir()
    data = Path(phantom("ct_multiorgan"))
    scan = sorted(data.rglob("*.nii.gz"))[0]
    shutil.copy(scan, scans / "p1.nii.gz")
    torch.manual_seed(0)
    torch.save(STUNet(1, 1 + len(CT_ORGANS), [8, 1], deep_supervision=True).state_dict(), weights / "model.pt")
    before = {path: path.stat().st_mtime_ns for path in (image.root / "app").rglob("*")}
    words = [
        "predict",
        "--bundle",
        "anatomask",
        "--weights",
        weights / "model.pt",
        scans,
        masks,
        "--model_size",
        "[8,1]",
    ]
    result = image.call([*image.entrypoint, *map(str, words)])
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    mask, of = nib.load(masks / "p1/p1_seg.nii.gz"), nib.load(scans / "p1.nii.gz")
    assert mask.shape == of.shape
    assert np.allclose(mask.affine, of.affine, atol=1e-3)
    assert {path: path.stat().st_mtime_ns for path in (image.root / "app").rglob("*")} == before  # may be read-only


@pytest.mark.slow
def test_its_environment_is_as_small_as_the_page_says(image):
    size = int(image.call(["du", "-s", "--block-size=1", image.root / "opt/monai-ext"]).stdout.split()[0]) / 2**30
    said = re.search(r"takes ([\d.]+) GiB", (ROOT / "ci/pages/install.md").read_text(encoding="utf-8"))
    assert said is not None
    assert size == pytest.approx(float(said[1]), rel=0.05)
    assert size < BEFORE * 2 / 3
