"""Commands: options that do not exist, the errors of this package, and lists of names."""

import pytest

from monai_ext.command_line import run_commands, split_names
from monai_ext.errors import CheckpointError, ConfigError, DataError

CALLS = []


def greet(name: str, times: int = 1) -> str:
    CALLS.append((name, times))
    return " ".join([f"hello {name}"] * times)


def fail(kind: str = "data") -> None:
    raise {"data": DataError("it is torn", "Mend it."), "weights": CheckpointError("no weights"), "bug": KeyError("x")}[
        kind
    ]


def wrapped() -> None:
    try:
        fail("weights")
    except CheckpointError as error:
        raise RuntimeError("Failed to instantiate component") from error


def anything(**options: object) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())


@pytest.fixture
def command(monkeypatch, capsys):
    """``command(commands, words)``: the exit code, and what was written to both streams."""
    CALLS.clear()

    def run(commands, *words):
        monkeypatch.setattr("sys.argv", ["program", *words])
        try:
            run_commands(commands, "program")
            code = 0
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def test_one_function_with_its_options(command):
    assert command(greet, "--name", "you", "--times", "2") == (0, "hello you hello you\n", "")
    assert command(greet, "you") == (0, "hello you\n", "")


def test_an_error_that_monai_wraps_is_told_as_it_is(command):
    assert command(wrapped) == (4, "", "error: no weights\n")


def test_several_functions_by_name(command):
    both = {"greet": greet, "fail": fail}
    assert command(both, "greet", "--name", "you")[:2] == (0, "hello you\n")
    assert command(both, "fail")[0] == DataError.exit_code


@pytest.mark.parametrize("commands", [greet, {"greet": greet}])
def test_a_misspelt_option_is_an_error_before_anything_is_done(command, commands):
    words = ["greet"] if isinstance(commands, dict) else []
    code, out, error = command(commands, *words, "--name", "you", "--tims", "2")
    assert (code, out) == (ConfigError.exit_code, "")
    assert error == "error: unknown option --tims; did you mean --times?\n"
    assert CALLS == []


def test_an_option_like_no_other_gets_the_list(command):
    code, _, error = command(greet, "--name", "you", "--zzz", "2")
    assert code == 2
    assert "there are: --name, --times" in error


def test_a_function_that_takes_any_option_checks_them_itself(command):
    assert command(anything, "--a", "1", "--b", "two")[:2] == (0, "a=1,b=two\n")


@pytest.mark.parametrize(("kind", "code", "text"), [("data", 3, "it is torn. Mend it."), ("weights", 4, "no weights")])
def test_errors_of_this_package_are_one_line_and_the_exit_code(command, kind, code, text):
    assert command(fail, "--kind", kind) == (code, "", f"error: {text}\n")


def test_other_errors_are_not_hidden(command):
    with pytest.raises(KeyError):
        command(fail, "--kind", "bug")


def test_help_lists_the_real_options(command):
    code, out, error = command(greet, "--help")
    assert code == 0
    assert "times" in out + error
    assert CALLS == []


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a,b", ["a", "b"]),
        ("a", ["a"]),
        (" a , b,, a", ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (7, ["7"]),
        ("", []),
    ],
)
def test_names_are_split_as_fire_hands_them_over(value, names):
    assert split_names(value) == names
