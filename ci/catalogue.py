"""Write the catalogue of parts in CONTRIBUTING.md from the code's docstrings; ``--check`` only compares.

The code is parsed, never imported. A part is what a room's ``__init__.py`` hands on; its line is the first sentence of
its docstring, and the papers that the docstring names.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "monai_ext"
BEGIN, END = "<!-- parts: ci/catalogue.py writes these tables -->", "<!-- end of parts -->"
ROOMS = {  # room of the package: its title
    "maskers": "Maskers",
    "networks.nets": "Networks",
    "losses": "Losses",
    "datalist": "Public data sets",
    "data.phantoms": "Synthetic data sets",
    "data": "Data sets in memory, and what lists them",
    "transforms": "Transforms",
    "inferers": "Inferers",
    "handlers": "Handlers",
    "metrics": "Metrics",
    "engines": "Engines",
    "phases": "Phases",
}
# Five papers that the bundles follow, as docstrings name them, and any work named by author and year.
OURS = r"(?:AMLP|AnatoMask|prostate MAE|adU-Net|BiXLSTM-ResNet)(?=,? \(?(?:section |eq|[A-Z]\.|[IVX]+\b|\d))"
WORK = r"[A-Z][\w-]+ (?:et al\.[^()=]{0,90}?|(?:&|and) [A-Z][\w-]+) \(?(?:19|20)\d\d\b"


class Part(NamedTuple):
    """One line of the catalogue."""

    name: str
    sentence: str
    papers: str


def sentence(docstring: str) -> str:
    """First sentence of a docstring as one line of a table, without the markup of references.

    Example:
        >>> sentence("Hide :class:`~a.b.Patches` at random (MAE, He et al. 2022). More.")
        'Hide `Patches` at random'
    """
    text = re.sub(r"\s+", " ", docstring.split("\n\n")[0]).strip()
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    text = re.split(r"(?<!\bal)(?<!\be\.g)(?<!\beq)(?<!\.)\.(?:\s|$)", text)[0]
    text = re.sub(rf" ?\((?=[^()]*(?:{OURS}|{WORK}))[^()]*\)", "", text)
    return text.rstrip(":").replace("|", "\\|")


def papers(docstring: str) -> str:
    """Papers that a docstring names, in its order.

    Example:
        >>> papers("Hide patches (MAE, He et al. 2022; AMLP, 3.4).")
        'He et al. 2022; AMLP'
    """
    text = re.sub(r"\s+", " ", docstring)
    found = [re.sub(r"[(*]", "", match) for match in re.findall(rf"{OURS}|{WORK}", text)]
    return "; ".join(dict.fromkeys(re.sub(r" et al\.,.* (\d{4})", r" et al. \1", work) for work in found))


def module_file(root: Path, module: str) -> Path:
    """File of a module or package."""
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parse(path: Path) -> ast.Module:
    """The code of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def handed_on(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Names that an ``__init__.py`` hands on, and the modules that it takes them from."""
    names, modules = [], {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            modules |= {alias.asname or alias.name: node.module or "" for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Dict):
            target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if target == "__all__":
                names = ast.literal_eval(node.value)
            elif target == "_MODULES":  # imported on use
                modules |= {name: f"{package}.{file}" for name, file in ast.literal_eval(node.value).items()}
    yield from ((name, modules[name]) for name in names if name in modules)


def find(root: Path, module: str, name: str) -> tuple[ast.ClassDef | ast.FunctionDef, ast.Module] | None:
    """The class or function of a name, and its module; None for anything else."""
    tree = parse(module_file(root, module))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, tree
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            return find(root, node.module or "", name)
    return None


def parts(room: str, root: Path = ROOT) -> list[Part]:
    """Parts of a room by name, classes first.

    Raises:
        SystemExit: a part has no docstring.
    """
    package = f"{PACKAGE}.{room}"
    tree = parse(module_file(root, package))
    handed = [(c, package) for c in _commands(tree)] if room == "datalist" else handed_on(tree, package)
    found: list[tuple[bool, Part]] = []
    for name, module in handed:
        if (place := find(root, module, name)) is None:
            continue
        node, source = place
        docstring, whole = ast.get_docstring(node) or "", ast.get_docstring(source) or ""
        if room == "data.phantoms":
            name, docstring = _registered(node) or "", whole
            if not name:
                continue
        if not docstring:
            raise SystemExit(f"{module}.{name} has no docstring")
        part = Part(name, sentence(docstring), papers(docstring) or papers(whole))
        found.append((isinstance(node, ast.FunctionDef), part))
    return [part for _, part in sorted(found, key=lambda item: (item[0], item[1].name.lower()))]


def _commands(tree: ast.Module) -> list[str]:
    """Names of the commands of ``monai_ext.datalist``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "COMMANDS" and node.value is not None:
            return [ast.literal_eval(key) for key in node.value.keys]  # type: ignore[attr-defined]
    return []


def _registered(node: ast.ClassDef | ast.FunctionDef) -> str | None:
    """Name under which a phantom is registered."""
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "register_phantom":
            return str(ast.literal_eval(mark.args[0]))
    return None


def catalogue(root: Path = ROOT) -> str:
    """All rooms in Markdown."""
    lines = []
    for room, title in ROOMS.items():
        lines += ["", f"### {title}", "", f"`{PACKAGE}.{room}`", "", "| name | what it is | paper |", "|---|---|---|"]
        lines += [f"| `{part.name}` | {part.sentence} | {part.papers} |" for part in parts(room, root)]
    return "\n".join([*lines[1:], ""])


def main(root: Path = ROOT, check: bool = False) -> int:
    """Write or compare; 1 if the catalogue is not up to date."""
    file = root / "CONTRIBUTING.md"
    text = file.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file} has no {BEGIN} ... {END}")
    wanted = f"{head}{BEGIN}\n\n{catalogue(root)}\n{END}{tail}"
    if check:
        if wanted != text:
            print("the catalogue of CONTRIBUTING.md is not up to date: python ci/catalogue.py")
        return int(wanted != text)
    file.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
