"""Commands that pages show are such as there are: programs, files, settings, rows, run ids; tests/pages runs them."""

import ast
import inspect
import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue
from lint_repository import find_documents
from monai.bundle import ConfigParser
from page_block import page_block

from monai_ext import command_line, errors
from monai_ext.__main__ import COMMANDS as COMMANDS_OF_PACKAGE
from monai_ext.bundle import Command, config_files, find_row
from monai_ext.phases.command import check_command
from monai_ext.sigterm import STOPPED

ROOT = Path(__file__).parents[1]
PAGES = [page for page in find_documents(ROOT) if page.name != "CHANGELOG.md"]
OTHERS = ("pip", "source", "cp", "mkdir", "python3.11", "monailabel", "git", "export", "rm", "sed", "unzip")


def lines_of(text):
    """Commands of a page: those of its blocks, and those of its sentences that are whole."""
    known = {}
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text)
    for block in (block for language, block in blocks if language in ("", "bash")):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            line = re.sub(r"^for (\w+) in (\w+).*?; do (.*); done$", r"\1=\2; \3", line.strip())
            while found := re.match(r"""(\w+)=("[^"]*"|'[^']*'|[^\s;]+)(?:; |\s+|$)""", line):
                known[found[1]] = found[2].strip("\"'")
                line = line[found.end() :]
            line = re.sub(r"\$(\w+)", lambda match: known.get(match[1], match[0]), line)
            if line and not line.startswith(("#", "{", "}", '"')):
                yield line
    for code in re.findall(r"`(python -m monai[^`]*)`", re.sub(r"(?ms)^```.*?^```", "", text)):
        if "..." not in code:
            yield re.sub(r"\s+", " ", code)


COMMANDS = [
    pytest.param(line, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, line in enumerate(lines_of(page.read_text(encoding="utf-8")))
]


def options_of(words):
    """Positional words, and options with their values."""
    places, options, left = [], {}, list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            options[key] = value if equals else left.pop(0) if left and not left[0].startswith("--") else "True"
        else:
            places.append(word)
    return places, options


def there(path):
    """A file of the repository; what is not in it is the reader's."""
    return (ROOT / path).exists() or not str(path).startswith(("bundles/", "ci/", "tests/"))


def check_run(words):
    run_id, *rest = words
    places, options = options_of(rest)
    assert not places, places
    given = options.pop("config_file")
    files = ast.literal_eval(given) if given.startswith("[") else [given]
    assert all(there(file) for file in files), files
    files = tuple(str(ROOT / file) for file in files if (ROOT / file).is_file())
    parsed = {key: DefaultParseValue(value) for key, value in options.items()}
    check_command(Command(run_id, files, parsed))


def check_export(words):
    places, options = options_of(words)
    assert places[0] in ConfigParser.load_config_file(str(ROOT / options["config_file"]))
    assert all(there(options[key]) for key in ("config_file", "meta_file"))


def function_of(module, monkeypatch):
    """What a module runs as a command."""
    found = []
    monkeypatch.setattr(command_line, "run_commands", lambda commands, name: found.append(commands))
    runpy.run_module(module, run_name="__main__")
    return found[0]


def check_ours(module, words, monkeypatch):
    function = function_of(module, monkeypatch)
    places, options = options_of(words)
    functions = [function]
    if isinstance(function, dict):
        functions = [function[name] for name in (places.pop(0).split("|") if places else function)]
    bundle = options.get("bundle", "")
    named = bundle.islower()  # else it stands for any
    root = ROOT / "bundles" / bundle
    for function in functions:
        parameters = inspect.signature(function).parameters
        known = set(parameters)
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):  # settings of the bundle
            bundles = [root] if named else ROOT.glob("bundles/*")
            files = ("inference",) if module.endswith("predict") else ("train", "evaluate")
            for file in (found / f"configs/{name}.json" for found in bundles for name in files):
                known |= ConfigParser.load_config_file(str(file)).keys()
        assert len(places) <= len(parameters)
        assert {key.split("#")[0] for key in options} <= known
    if named:
        overlays = [name for name in options.get("config", "").split(",") if name and there(name)]
        config_files(root, "train", [name for name in overlays if not name.endswith(".json")])
        for row in options.get("rows", "").split(","):
            assert row in ("", root.name) or find_row(root, row)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_pages(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    if "monai.bundle" in words:
        action, *rest = words[words.index("monai.bundle") + 1 :]
        assert action in ("run", "ckpt_export", "onnx_export"), action
        return check_run(rest) if action == "run" else check_export(rest)
    if words[0] == "python" and words[1] == "-m" and words[2].startswith("monai_ext."):
        return check_ours(words[2], words[3:], monkeypatch)
    if words[:2] == ["podman", "run"]:  # what follows the image's name goes to its entry point
        words = words[words.index("monai-ext") :]
    if words[0] == "monai-ext":
        return check_ours(f"monai_ext.{words[1]}", words[2:], monkeypatch)
    if words[1:3] == ["-m", "venv"]:
        return None
    script = next((word for word in words if word.startswith(("ci/", "tests/"))), None)
    if script is not None:
        assert (ROOT / script).is_file(), script
    else:
        assert words[0] in OTHERS, f"a page shows {line!r}, of which nothing is known"
    return None


def test_pages_show_commands():
    assert len(COMMANDS) > 100


def test_the_pages_start_the_server_alike():
    """ci/test-monailabel runs the lines of the first one; those of the other differ in names."""
    names = {"prostate_mae": "t2w", "autopet_bixlstm": "pet"}
    blocks = {
        page_block(ROOT / f"bundles/{bundle}/docs/from_scans_to_server.md", "monailabel start_server")
        .replace(bundle, "BUNDLE")
        .replace(f"*_{image}.", "*_IMAGE.")
        for bundle, image in names.items()
    }
    assert len(blocks) == 1
    assert "page=bundles/prostate_mae/docs/from_scans_to_server.md" in (ROOT / "ci/test-monailabel").read_text()


def test_the_page_of_commands_lists_them_all():
    text = (ROOT / "ci/pages/commands.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \| \[", text) == list(COMMANDS_OF_PACKAGE.items())


def test_functions_that_the_page_of_commands_names():
    text = (ROOT / "ci/pages/commands.md").read_text(encoding="utf-8")
    names = re.findall(r"`monai_ext\.(\w+)\.(\w+)`", text)
    assert len(names) == 5
    assert all(callable(getattr(import_module(f"monai_ext.{module}"), name)) for module, name in names)


def test_every_exit_code_is_on_its_page():
    text = (ROOT / "ci/pages/what_went_wrong.md").read_text(encoding="utf-8")
    kinds = [errors.BundleError, *errors.BundleError.__subclasses__()]
    codes = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", text)}
    assert codes == {0, *(kind.exit_code for kind in kinds), STOPPED, 130}
