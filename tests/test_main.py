"""One name for all commands."""

import pkgutil
import re
from pathlib import Path

import commands
import pytest

import monai_ext
from monai_ext.__main__ import COMMANDS, main


def test_every_module_that_is_a_command_has_its_name():
    """A module that ends with ``run_commands`` is a command, and so is a package with such a ``__main__``."""
    found = set()
    for module in pkgutil.iter_modules(monai_ext.__path__):
        file = Path(module.module_finder.path) / f"{module.name}{'/__main__' if module.ispkg else ''}.py"
        text = file.read_text() if file.is_file() else ""
        if re.search(r"^if __name__ == .__main__.:\n    run_commands\(", text, re.MULTILINE):
            found.add(module.name)
    assert found == set(COMMANDS)


def run(*words):
    return commands.run("-m", "monai_ext", *words)


def test_a_command_gets_its_options():
    found = run("options", "--bundle", "amlp", "--phase", "pretrain")
    assert found.returncode == 0
    assert "--pretrain#patch_size" in found.stdout


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_the_commands(words, capsys):
    assert main(words) == 0
    assert all(name in capsys.readouterr().out for name in list(COMMANDS)[:1])


def test_a_misspelt_command_is_one_line_and_exit_2(capsys):
    assert main(["plann"]) == 2
    assert capsys.readouterr().err == "monai-ext has no command 'plann'; did you mean 'plan'?\n"


def test_exit_code_is_the_commands():
    found = run("options", "--bundle", "amlp", "--phas", "pretrain")
    assert found.returncode == 2
    assert "did you mean --phase?" in found.stderr
