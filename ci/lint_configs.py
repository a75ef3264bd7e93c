"""Lint bundle configs by parsing them only: duplicate keys, unknown references, and code outside the allow-list."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

# Packages that a config may name in `_target_` or call in an expression. Other code is unexpected and refused.
ALLOWED = {"monai", "monai_ext", "torch", "ignite", "math"}
BUILTINS = {"int", "float", "str", "bool", "len", "list", "dict", "tuple", "range", "min", "max", "sorted", "print"}
# Parts of names within these packages that load, fetch or run something else.
DENIED = {"load", "hub", "system", "popen", "cpp_extension", "run_cmd", "download_url", "download_and_extract"}
DENIED |= {"download", "extractall", "exec", "eval", "load_submodules"}
REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON object without duplicate keys; the last one would win silently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate keys {sorted({key for key in keys if keys.count(key) > 1})}")
    return found


def visit(node: object, where: str) -> list[tuple[str, str]]:
    """Every string of a config with its place."""
    if isinstance(node, dict):
        return [hit for key, value in node.items() for hit in visit(value, f"{where}#{key}")]
    if isinstance(node, list):
        return [hit for i, value in enumerate(node) for hit in visit(value, f"{where}#{i}")]
    return [(where, node)] if isinstance(node, str) else []


def check_expression(text: str) -> list[str]:
    """Names an expression uses that are not allowed."""
    try:
        tree = ast.parse(REFERENCE.sub("_ref", text), mode="exec")
    except SyntaxError as error:
        return [f"not an expression: {error.msg}"]
    problems = []
    bound = {"_ref"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            bound |= {argument.arg for argument in node.args.args}
        elif isinstance(node, ast.comprehension):
            bound |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            problems += [f"imports {name}" for name in names if name.split(".")[0] not in ALLOWED]
        elif isinstance(node, ast.Name) and node.id not in ALLOWED | BUILTINS | bound:
            problems.append(f"uses {node.id}")
        elif isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            problems.append(f"reaches for {node.attr}")
        elif isinstance(node, ast.Attribute) and node.attr in DENIED:
            problems.append(f"calls .{node.attr}")
    return problems


def check_file(path: Path) -> list[str]:
    """Problems of one config."""
    try:
        config = json.loads(path.read_text(), object_pairs_hook=unique)
    except ValueError as error:
        return [f"{path}: {error}"]
    problems = []
    alone = "bundle_root" in config  # a complete phase, not an overlay
    for where, text in visit(config, path.as_posix()):
        if where.endswith("#_target_"):
            # A bare name belongs to MONAI, whose own table resolves it.
            if "." in text and text.split(".")[0] not in ALLOWED:
                problems.append(f"{where}: {text} is outside {', '.join(sorted(ALLOWED))}")
            problems += [f"{where}: calls .{part}" for part in text.split(".") if part in DENIED]
        elif text.startswith("$"):
            problems += [f"{where}: {problem}" for problem in check_expression(text[1:])]
        if text.startswith(("$", "@")) and alone:
            for reference in REFERENCE.findall(text):
                if reference.replace("::", "#").split("#")[0] not in config:
                    problems.append(f"{where}: @{reference} is not defined")
    return problems


def main(folders: list[str]) -> int:
    """Check all configs below the folders; 1 if there is a problem."""
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.json"))]
    problems = [problem for file in files for problem in check_file(file)]
    print("\n".join(problems) or f"{len(files)} configs: no problem")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
