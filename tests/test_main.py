"""One name for all commands."""

import pkgutil
import re

import pytest

import monai_ext
from monai_ext.__main__ import COMMANDS, main


def test_every_module_that_is_a_command_has_its_name():
    """A module that ends with ``run_commands`` is a command, and so is a package with such a ``__main__``."""
    found = set()
    for module in pkgutil.iter_modules(monai_ext.__path__):
        file = f"{module.module_finder.path}/{module.name}{'/__main__' if module.ispkg else ''}.py"
        try:
            text = open(file).read()
        except FileNotFoundError:
            continue
        if re.search(r"^if __name__ == .__main__.:\n    run_commands\(", text, re.MULTILINE):
            found.add(module.name)
    assert found == set(COMMANDS)


def test_a_command_gets_its_options(capsys):
    main(["options", "--bundle", "amlp", "--phase", "pretrain"])
    assert "--pretrain#patch_size" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_the_commands(words, capsys):
    assert main(words) == 0
    assert all(name in capsys.readouterr().out for name in list(COMMANDS)[:1])


def test_a_misspelt_command_is_one_line_and_exit_2(capsys):
    assert main(["plann"]) == 2
    assert capsys.readouterr().err == "monai-ext has no command 'plann'; did you mean 'plan'?\n"


def test_exit_code_is_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["options", "--bundle", "amlp", "--phas", "pretrain"])
    assert end.value.code == 2
    assert "did you mean --phase?" in capsys.readouterr().err
