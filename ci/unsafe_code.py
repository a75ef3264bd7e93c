"""Find, by parsing only, code that unpickles data, evaluates text or runs a shell, under whatever name it is reached.

Each name is followed through the file's imports to the module that defines what it reaches. What is unsafe may not even
be mentioned: `partial(torch.load)` and `load = torch.load` call it elsewhere. A module is a place to take names from;
who passes one on as a value (`t = torch`, `getattr(torch, name)`) hides which name is taken.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import GenericAlias, ModuleType

from definitions import defined_as, resolve

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Modules that run text, fetch code, or reach a name by its text.
REFUSED = {"runpy", "code", "codeop", "pty", "pydoc", "torch.hub", "torch.package", "torch.utils.model_zoo"}
REFUSED |= {"torch.utils.cpp_extension", "torch.distributed.checkpoint"}
UNSAFE = re.compile(
    r"""(builtins\.)?(eval|exec|compile|__import__|breakpoint|__builtins__)
    | torch\.serialization\.(\w*_load|add_safe_globals|pickle) | torch\.(jit|export)(\.\w+)*\.load
    | (pandas|pd)(\.\w+)*\.read_pickle
    | (ruamel\.)?yaml(\.\w+)*\.((unsafe_|full_)?load(_all)?|\w*(?<!Safe)Loader|YAML)
    | _?operator\.(methodcaller|attrgetter) | sys\.modules | pkgutil\.resolve_name
    | importlib\.(__import__|reload|util\.(spec_from\w*|module_from_spec)|machinery\.\w+)
    | (os|posix|nt)\.(system|popen|startfile|exec\w+|spawn\w+|posix_spawn\w*)
    | subprocess\.get(status)?output | asyncio(\.\w+)*\.create_subprocess_shell
    | monai\.bundle(\.\w+)*\.(load|download|run_workflow)""",
    re.VERBOSE,
)
# From these, every other name can be reached.
DUNDERS = {"__subclasses__", "__globals__", "__builtins__", "__loader__", "__bases__", "__base__", "__mro__"}
DUNDERS |= {"__getattribute__"}
# Safe with the right arguments: defined as -> called for.
TORCH_LOAD, NUMPY_LOAD = "torch.serialization.load", "numpy.load"
BY_TEXT = {"importlib.import_module", "monai.utils.module.optional_import"}
FOLLOWED = {"torch", "numpy", "monai", "monai_ext", "ignite"}  # installed wherever this runs, and full of other modules
# Passing one of these on is refused; of other packages, some are optional and handed on by the one who looks for them.
HELD = FOLLOWED | {"pandas", "yaml"} | sys.stdlib_module_names
# Where a name of a text's is the purpose.
EXCEPTIONS = {
    ("ci/definitions.py", "importlib.import_module"),  # follows names for the lints
    ("monai_ext/bundle_process.py", "runpy.run_module"),  # runs `python -m monai.bundle` in a fork
    ("monai_ext/phases/settings.py", "pydoc.locate"),  # finds what a config's target takes, as MONAI finds it
}


@cache
def definition(name: str) -> tuple[str, bool]:
    """Where a name is defined, as far as it can be followed, and whether it is a module."""
    try:
        if name.split(".")[0] in FOLLOWED or name.count(".") > 1:
            found = resolve(name)
            return name if isinstance(found, GenericAlias) else defined_as(name), isinstance(found, ModuleType)
    except (LookupError, ImportError):
        return name, False
    return name, "." not in name


def imported(tree: ast.Module) -> dict[str, set[str]]:
    """Names that a file's imports bind, in any scope, and what they may mean."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]].add(
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name].add(f"{node.module}.{alias.name}")
    return found


class Names:
    """What the expressions of a file reach."""

    def __init__(self, tree: ast.Module) -> None:
        self.imported = imported(tree)

    def __call__(self, node: ast.expr | None) -> set[str]:
        """Dotted names that an expression may mean: names, their attributes, `getattr` and imports of a given text."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id) or ({node.id} if UNSAFE.fullmatch(node.id) else set())
        if isinstance(node, ast.Attribute):
            return {f"{holder}.{node.attr}" for holder in self(node.value)}
        if isinstance(node, ast.Call):
            text = node.args[-1].value if node.args and isinstance(node.args[-1], ast.Constant) else None
            if isinstance(text, str) and is_getattr(node):
                return {f"{holder}.{text}" for holder in self(node.args[0])}
            if isinstance(text, str) and self.defined(node.func) & BY_TEXT:
                return {text}
        return set()

    def defined(self, node: ast.expr | None) -> set[str]:
        """Where what an expression reaches is defined."""
        return {definition(name)[0] for name in self(node)}


def is_getattr(node: ast.AST) -> bool:
    """Whether a call takes an attribute by a name that stands there: `getattr(x, "name")`."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
    return called and len(node.args) == 2 and isinstance(node.args[1], ast.Constant)


def check_unsafe(path: Path) -> Iterator[str]:
    """Every place of a file that loads unsafely, runs text or a shell, or hides a name."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    reached = Names(tree)
    excepted = {name for place, name in EXCEPTIONS if path.as_posix().endswith(f"/{place}")}
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    inner |= {id(node.args[0]) for node in ast.walk(tree) if is_getattr(node)}
    for node in ast.walk(tree):
        problems: list[str] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            problems += check_import(node, excepted)
        elif isinstance(node, ast.Call):
            problems += check_call(node, reached)
        if isinstance(node, ast.Name | ast.Attribute | ast.Call):
            for name in sorted(reached(node)):
                own, is_module = definition(name)
                if not any(f"{allowed}.".startswith(f"{own}.") for allowed in excepted):
                    problems += check_mention(name, own, calls.get(id(node)))
                loaded = isinstance(getattr(node, "ctx", None), ast.Load) and own.split(".")[0] in HELD
                if is_module and loaded and id(node) not in inner:
                    problems.append(f"hands on the module {own}, from which any name can be taken")
        if isinstance(node, ast.Attribute):
            of_module = any(definition(name)[1] for name in reached(node.value))
            if node.attr in DUNDERS or (of_module and node.attr == "__dict__"):
                problems.append(f"reaches for {node.attr}")
        if isinstance(node, ast.Attribute | ast.Subscript) and _calls(node.value, "globals", "locals"):
            problems.append("takes a name from globals() or locals() by its text")
        yield from (f"{path}:{node.lineno}: {problem}" for problem in dict.fromkeys(problems))


def check_import(node: ast.Import | ast.ImportFrom, excepted: set[str]) -> Iterator[str]:
    """Say what is wrong with an import; ``excepted`` names may be imported in this file."""
    if isinstance(node, ast.ImportFrom):
        if node.level:
            yield "a relative import; name the module in full"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        if any(alias.name == "*" for alias in node.names):
            yield f"imports all names of {node.module}"
            return
    else:
        names = [alias.name for alias in node.names]
    for name in names:
        own, _ = definition(name)
        if any(f"{allowed}.".startswith(f"{own}.") for allowed in excepted):
            continue
        if is_unsafe(name) or is_unsafe(own) or own in (TORCH_LOAD, NUMPY_LOAD):
            yield f"imports {name}"


def is_unsafe(name: str) -> bool:
    """Whether a name unpickles, runs text or a shell whatever its arguments are."""
    parts = name.split(".")
    above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    below = {".".join(parts[start:]) for start in range(len(parts) - 1)} | {name}  # of what is not installed here
    return bool(PICKLES & set(parts) or REFUSED & above or any(map(UNSAFE.fullmatch, below)))


def check_mention(name: str, own: str, call: ast.Call | None) -> Iterator[str]:
    """Say what is wrong with a name that stands in the code, ``own`` where it is defined, called or not."""
    options = {keyword.arg: keyword.value for keyword in call.keywords} if call else {}
    if is_unsafe(name) or is_unsafe(own):
        yield f"calls {name}{'' if own == name else f', which is {own}'}{_remedy(own)}"
    elif own == TORCH_LOAD and not _is(options.get("weights_only"), True):
        yield f"{name} without weights_only=True"
    elif own == NUMPY_LOAD and (not call or len(call.args) > 2 or None in options):
        yield f"{name} with allow_pickle, or with arguments that do not say so"
    elif own in BY_TEXT and not (call and call.args and _may_import(call.args[0], own)):
        yield f"{name} of what is not of this package"


def check_call(node: ast.Call, reached: Names) -> Iterator[str]:
    """Say what is wrong with the arguments of a call, whatever it calls."""
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    called = ast.unparse(node.func)
    if "allow_pickle" in options and not _is(options["allow_pickle"], False):
        yield f"{called} with allow_pickle"
    if any(own.endswith(".read_array") for own in reached.defined(node.func)) and len(node.args) > 1:
        yield f"{called} with allow_pickle"
    unknown = not reached(node.func) and called.split(".")[-1] in ("system", "popen")
    if unknown or ("shell" in options and not _is(options["shell"], False)):
        yield f"{called} runs a shell"


def _may_import(name: ast.expr, own: str) -> bool:
    """Whether the text of an import is known: a module of this package, or an optional one that is not unsafe."""
    start = name.values[0] if isinstance(name, ast.JoinedStr) else name
    text = start.value if isinstance(start, ast.Constant) else ""
    ours = isinstance(text, str) and (text == "monai_ext" or text.startswith("monai_ext."))
    optional = own != "importlib.import_module" and text and name is start
    return bool(ours or (optional and not is_unsafe(text) and text.split(".")[0] not in FOLLOWED))


def _remedy(own: str) -> str:
    if own.startswith(("yaml", "ruamel")):
        return "; use yaml.safe_load"
    return ": it runs a shell" if own.endswith((".system", ".popen")) else ""


def _calls(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
