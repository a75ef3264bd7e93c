"""Every block of every page is run as it stands, in one shell for each page. page_machine.py says what is shortened.

A block that is not run stands in the table of ci/pages/trust.md, with a reason.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from page_blocks import ROOT, pages, read_blocks

from monai_ext.data import check_datalist

PROGRAMS = (
    "python",
    "python3",
    "python3.11",
    "torchrun",
    "sbatch",
    "srun",
    "scontrol",
    "monailabel",
    "pip",
    "ruff",
    "mypy",
)
ROW = re.compile(r"(?m)^\| \[[^]]+\]\(([^)]+\.md)\) \| (all|`[^`]+`) \| (.+) \|$")


def rows_left_out(page="ci/pages/trust.md"):
    """Page, first words of its blocks, and why they are not run: from the table that readers see."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = ROW.findall(text)
    return [
        (os.path.normpath(f"{page}/../{link}"), "" if start == "all" else start.strip("`").removesuffix(" ..."), why)
        for link, start, why in found
    ]


LEFT_OUT = rows_left_out()


def left_out(block):
    return any(block.page == page and code_of(block).startswith(start) for page, start, _ in LEFT_OUT)


def code_of(block):
    """A block from its first command on."""
    return "\n".join(line for line in block.text.splitlines() if not line.startswith("#"))


RUN = [page for page in pages() if any(not left_out(block) for block in read_blocks(ROOT / page))]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder of programs; what they do is page_machine.py's."""
    folder = tmp_path_factory.mktemp("programs")
    text = Path(__file__).with_name("page_stand_in.py").read_text()
    for name in PROGRAMS:
        (folder / name).write_text(f"#!{sys.executable} -ES\n{text}")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def clone(tmp_path):
    """The repository as a reader has it, without what runs have left in it; our package is the one under test."""
    root = tmp_path / "clone"
    runs = shutil.ignore_patterns("models", "output", "demo", "rows", "mlruns*", "__pycache__")
    shutil.copytree(ROOT / "bundles", root / "bundles", ignore=runs)
    shutil.copytree(ROOT / "ci", root / "ci")
    for folder in ("monai_ext", "tests"):
        (root / folder).symlink_to(ROOT / folder)
    for file in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "LICENSE"):
        shutil.copy(file, root)
    return root


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """The process behind the programs, by the address at which they call it."""
    address = tmp_path_factory.mktemp("machine") / "socket"
    paths = os.pathsep.join(str(ROOT / name) for name in (".", "tests/pages", "tests/faults", "tests/helpers"))
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, Path(__file__).with_name("page_machine.py"), address], env=env)
    while not address.exists():
        assert process.poll() is None, "the machine did not start"
        time.sleep(0.1)
    yield str(address)
    process.kill()
    process.wait()


@pytest.fixture
def environment(clone, stand_ins, machine, tmp_path):
    """Variables of the shell."""
    world = tmp_path / "world"
    venv = world / "venv"
    venv.mkdir(parents=True)
    (venv / "bin").symlink_to(stand_ins)
    pinned = b"".join(
        (clone / name).read_bytes() for name in ("requirements.txt", "ci/requirements.txt", "pyproject.toml")
    )
    (venv / ".stamp").write_text(hashlib.sha256(pinned).hexdigest() + "\n")  # ci/setup has nothing to do
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "MONAI_EXT_REAL"))}
    ours = {"VENV": str(venv), "PAGE_MACHINE": machine, "PAGE_CLONE": str(clone), "PAGE_WORLD": str(world)}
    ours |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**kept, **ours, "PATH": f"{stand_ins}:{os.environ['PATH']}"}


def script_of(blocks, folder):
    """One shell for all blocks, each in a file whose lines have the numbers of the page's."""
    lines = ["set -eE", "trap 'echo \"stopped at $PAGE:$LINENO: $BASH_COMMAND\" >&2' ERR"]
    for block in blocks:
        path = folder / f"block{block.line}"
        path.write_text("\n" * (block.line - 1) + block.text)
        if block.kind == "python":
            lines.append(f'echo "== {block.place}"; python -c "$(cat {path})"')
        elif block.kind == "bash":
            # A reader puts another path in place of a capital word each time.
            lines.append(f'echo "== {block.place}"; rm -rf D F C M DIR FILE; source {path}')
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_blocks_run_as_they_stand(page, clone, environment, tmp_path):
    blocks = [block for block in read_blocks(ROOT / page) if not left_out(block)]
    script = tmp_path / "page.sh"
    script.write_text(script_of(blocks, tmp_path))
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        ended = subprocess.run(
            ["bash", script], cwd=clone, env={**environment, "PAGE": page}, stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, timeout=1800,
        )  # fmt: skip
    assert ended.returncode == 0, log.read_text(errors="replace")[-6000:]


@pytest.mark.parametrize(
    "block", [b for page in RUN for b in read_blocks(ROOT / page) if b.kind == "json"], ids=lambda b: b.place
)
def test_a_datalist_is_one(block, tmp_path):
    """A datalist on a page is read, and names files and nothing else."""
    (tmp_path / "datalist.json").write_text(block.text)
    problems = check_datalist(tmp_path / "datalist.json", tmp_path)
    items = json.loads(block.text)["training"]
    files = {value for item in items for value in item.values() if "/" in str(value)}
    assert len(files) > 2
    assert [p for p in problems if "there is no such file" not in p.cause] == []
    assert len(problems) == len(files)  # all of them are missing here


def test_every_block_is_run_or_left_out_with_a_reason():
    blocks = [block for page in pages() for block in read_blocks(ROOT / page)]
    assert [
        block.place for block in blocks if not left_out(block) and block.kind not in ("bash", "python", "json")
    ] == []
    assert len(LEFT_OUT) > 5
    for page, start, why in LEFT_OUT:
        assert any(b.page == page and code_of(b).startswith(start) for b in blocks), f"{page} has no block {start!r}"
        assert len(why.split()) > 3


def test_all_pages_are_found():
    assert {"README.md", "bundles/amlp/docs/README.md", "bundles/prostate_mae/docs/from_scans_to_server.md"} <= set(RUN)


def test_a_line_that_fails_is_named(clone, environment, tmp_path):
    (tmp_path / "page.md").write_text("text\n\n```\necho fine\npython -m monai_ext.options --bundle amlpp\n```\n")
    blocks = read_blocks(tmp_path / "page.md")
    (tmp_path / "page.sh").write_text(script_of(blocks, tmp_path))
    run = subprocess.run(
        ["bash", tmp_path / "page.sh"],
        cwd=clone,
        env={**environment, "PAGE": "page.md"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "did you mean 'amlp'" in run.stderr
    assert "stopped at page.md:5: python -m monai_ext.options" in run.stderr
