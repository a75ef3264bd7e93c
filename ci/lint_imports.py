"""Lint the imports between the package's modules: only downwards, without cycles, and late only with a reason.

The code is parsed, never imported. A package's ``__init__.py`` may import what lies below or in its own room; that a
module imports a package counts as an import of the modules that define the names.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "monai_ext"
# From the lowest to the highest. Rooms of one floor do not import each other; a name covers what is below it in the
# tree, and the longest name that fits a module is its room.
FLOORS = (
    ("errors", "versions"),
    ("processes", "bundle", "sigterm"),
    ("data.io", "progress_bar"),
    ("networks",),  # blocks, weights and what else any network needs
    ("losses", "maskers"),
    ("networks.nets",),
    ("networks.published",),
    ("metrics",),
    ("transforms",),
    ("data",),
    ("inferers",),
    ("handlers",),
    ("engines",),
    ("phases",),
    ("",),  # the commands, and what they share
)
LATE = "# late: "


class Import(NamedTuple):
    """One import statement of a module: its first and last line, what it names, and whether it is in a function."""

    line: int
    last: int
    targets: frozenset[str]
    inside: bool


def module_name(path: Path, root: Path) -> str:
    """``monai_ext/data/io/volume.py`` -> ``monai_ext.data.io.volume``; a package is its ``__init__.py``."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> tuple[int, str]:
    """Number of the floor of a module, and the name of its room."""
    inner = module.removeprefix(PACKAGE).removeprefix(".")
    found = [
        (len(name), number, name)
        for number, floor in enumerate(FLOORS)
        for name in floor
        if not name or inner == name or inner.startswith(f"{name}.")
    ]
    _, number, name = max(found)
    return number, name


def imports(tree: ast.Module, modules: dict[str, ast.Module]) -> Iterator[Import]:
    """What a module imports of the package, names followed through the ``__init__.py`` that hands them on."""
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names if alias.name in modules and alias.name != PACKAGE}
        elif isinstance(node, ast.ImportFrom):
            targets = {found for alias in node.names if (found := defining(node.module or "", alias.name, modules))}
        else:
            continue
        yield Import(node.lineno, node.end_lineno or node.lineno, frozenset(targets), id(node) in inner)


def defining(source: str, name: str, modules: dict[str, ast.Module]) -> str | None:
    """The module that ``from source import name`` reaches; None outside of the package."""
    if source not in modules:
        return None
    for node in modules[source].body:
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return defining(node.module or "", name, modules) or source
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "_MODULES"
            and isinstance(node.value, ast.Dict)
        ):  # exported on use
            handed = ast.literal_eval(node.value)
            if name in handed:
                return defining(f"{source}.{handed[name]}", name, modules)
    return f"{source}.{name}" if f"{source}.{name}" in modules else source


def check_imports(root: Path = ROOT) -> Iterator[str]:
    """Every import that goes up, every late one without a reason, every relative one, and every circle."""
    paths = {module_name(path, root): path for path in sorted((root / PACKAGE).rglob("*.py"))}
    modules = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in paths.items()}
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, tree in modules.items():
        path, lines = paths[name].relative_to(root), paths[name].read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{path}:{node.lineno}: a relative import; name the module in full"
        for found in imports(tree, modules):
            if found.inside and not any(line.partition(LATE)[2].strip() for line in lines[found.line - 1 : found.last]):
                yield f"{path}:{found.line}: an import inside a function needs its reason on the line: {LATE}..."
            for target in sorted(found.targets):
                if problem := _upwards(name, target):
                    yield f"{path}:{found.line}: {problem}"
            if paths[name].name != "__init__.py":
                edges[name] |= found.targets
    yield from _circles(edges)


def _upwards(module: str, target: str) -> str | None:
    (floor, here), (other, there) = room(module), room(target)
    if other > floor:
        return f"{module} imports {target}, which is on a higher floor: {there or 'commands'} above {here}"
    if other == floor and here != there:
        return f"{module} imports {target}: {here} and {there} are rooms of one floor"
    return None


def _circles(edges: dict[str, set[str]]) -> Iterator[str]:
    """Circles of imports between modules, each once, by depth-first search."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> Iterator[str]:
        for target in sorted(edges.get(module, ())):
            if target in path:
                yield f"a circle of imports: {' -> '.join([*path[path.index(target) :], target])}"
            elif target not in done:
                yield from visit(target, [*path, target])
        done.add(module)

    for module in sorted(edges):
        if module not in done:
            yield from visit(module, [module])


def main(root: Path = ROOT) -> int:
    """Check the package; 1 if there is a problem."""
    problems = list(check_imports(root))
    print("\n".join(problems) or f"{len(FLOORS)} floors: every import runs downwards")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
