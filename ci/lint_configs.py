"""Lint bundle configs by parsing them only: duplicate keys, unknown references, and code outside the allow-list.

A name is followed to the module that defines it (`torch.hub.sys.exit` is `sys.exit`), and what it reaches must be
one of the parts that configs are made of. An expression holds the kinds of syntax that a setting needs.
Nothing of a config is evaluated.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from definitions import defined_as, resolve

# What `$import` may name, and where a dotted name may start.
ROOTS = {"monai", "monai_ext", "torch", "ignite", "math"}
# Rooms of the package whose public names (`__all__`) are parts of configs.
ROOMS = ("data", "engines", "handlers", "inferers", "losses", "maskers", "metrics", "phases", "transforms")
ROOMS += ("networks.nets", "networks.blocks")
# Everything else by its exact name. A new one is one line here, after a look at what it does with its arguments:
# nothing that reads or fetches code, unpickles, or runs a command.
EXACT = {
    "math.ceil",
    "math.floor",
    "math.log2",
    "math.prod",
    "math.sqrt",
    "monai.data.dataloader.DataLoader",
    "monai.data.dataset.Dataset",
    "monai.losses.dice.DiceCELoss",
    "monai.losses.dice.DiceFocalLoss",
    "monai.losses.dice.DiceLoss",
    "monai.networks.nets.attentionunet.AttentionUnet",
    "monai.networks.nets.basic_unet.BasicUNet",
    "monai.networks.nets.dynunet.DynUNet",
    "monai.networks.nets.segresnet.SegResNet",
    "monai.networks.nets.swin_unetr.SwinUNETR",
    "monai.networks.nets.unet.UNet",
    "monai.transforms.compose.Compose",
    "monai.transforms.post.dictionary.Activationsd",
    "monai.transforms.post.dictionary.AsDiscreted",
    "monai.transforms.intensity.dictionary.RandGaussianNoised",
    "monai.transforms.intensity.dictionary.RandScaleIntensityd",
    "monai.transforms.intensity.dictionary.RandShiftIntensityd",
    "monai.transforms.spatial.dictionary.Orientationd",
    "monai.transforms.spatial.dictionary.RandAffined",
    "monai.transforms.spatial.dictionary.RandFlipd",
    "monai.transforms.utility.dictionary.EnsureTyped",
    "monai.transforms.utility.dictionary.Identityd",
    "monai.transforms.utility.dictionary.Lambdad",
    "monai_ext.bundle.find_root",
    "monai_ext.networks.deep_ensemble.deep_ensemble",
    "monai_ext.networks.param_groups.param_groups",
    "monai_ext.networks.weights.is_null",
    "monai_ext.processes.loading_workers",
    "monai_ext.processes.process_device",
    "monai_ext.processes.shard_device",
    "torch.cuda.is_available",
    "torch.device",
    "torch.float32",
    "torch.optim.adam.Adam",
    "torch.optim.adamw.AdamW",
    "torch.optim.sgd.SGD",
    "torch.uint8",
}
BUILTINS = {"int", "float", "str", "bool", "len", "list", "dict", "tuple", "range", "min", "max", "sorted", "print"}
# Attributes and methods of what a config has made; `.format` is none of them, since it reaches for attributes by text.
MEMBERS = {"cases", "details", "encoder", "is_wanted", "learns", "objects", "parameters", "predict", "run", "student"}
MEMBERS |= {"teacher", "to", "trainer", "type"}
SYNTAX = (
    *(ast.Expression, ast.Constant, ast.Name, ast.expr_context, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred),
    *(ast.List, ast.Tuple, ast.Dict, ast.Call, ast.keyword, ast.IfExp, ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop),
    *(ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Lambda, ast.arguments, ast.arg, ast.comprehension),
    *(ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp),
)
REFERENCE = re.compile(r"@\w*(?:::\w*)*")  # MONAI's own, after it has made `::` of every `#`
REFERRED = "__local_refs"


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON object without duplicate keys; the last one would win silently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate keys {sorted({key for key in keys if keys.count(key) > 1})}")
    return found


def visit(node: object, where: str) -> list[tuple[str, str]]:
    """Every string of a config with its place, written with `#` (MONAI takes `::` in a key as well)."""
    if isinstance(node, dict):
        return [hit for key, value in node.items() for hit in visit(value, f"{where}#{key.replace('::', '#')}")]
    if isinstance(node, list):
        return [hit for i, value in enumerate(node) for hit in visit(value, f"{where}#{i}")]
    return [(where, node)] if isinstance(node, str) else []


@cache
def allowed() -> set[str]:
    """Names, in the modules that define them, of all that a config may reach."""
    public = {f"monai_ext.{room}.{name}" for room in ROOMS for name in resolve(f"monai_ext.{room}.__all__")}
    return EXACT | {own for own in map(defined_as, public) if own.startswith("monai_ext.")}


def check_name(name: str) -> Iterator[str]:
    """Say what is wrong with a dotted name."""
    if name.split(".")[0] not in ROOTS:
        yield f"{name} is outside {', '.join(sorted(ROOTS))}"
    elif "__" in name:
        yield f"{name} reaches for a name with two underscores"
    else:
        try:
            own = defined_as(name)
        except LookupError:
            yield f"{name} does not exist"
            return
        if own not in allowed():
            yield f"{name} is {own}, which is not on the list of what configs may use"


def check_target(text: str, referred: bool = False) -> Iterator[str]:
    """Say what is wrong with a target: a known name, or a reference if it is not ``referred`` to."""
    if text.startswith("$" if not referred else ("$", "@", "%")):
        yield "a target that is computed; name it"
    elif not text.startswith("@"):
        if "." in text:
            yield from check_name(text)
        elif text not in {name.rpartition(".")[2] for name in EXACT if name.startswith("monai.")}:
            yield f"{text} is not among MONAI's names that configs may use"


def dotted(node: ast.AST) -> str | None:
    """Text of `a.b.c`; None for attributes of anything but a name."""
    if isinstance(node, ast.Attribute):
        holder = dotted(node.value)
        return holder and f"{holder}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def check_import(node: ast.stmt) -> Iterator[str]:
    """Say what is wrong with the statement of an `$import`: whole packages under their own names only."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in ROOTS or alias.asname:
                yield f"imports {alias.name}{f' as {alias.asname}' if alias.asname else ''}"
    elif isinstance(node, ast.ImportFrom):
        yield f"imports {', '.join(alias.name for alias in node.names)} from {node.module}"


def check_expression(text: str) -> list[str]:
    """Names an expression uses that are not allowed, and syntax that no setting needs."""
    text = REFERENCE.sub(lambda match: f"{REFERRED}['{match[0][1:]}']", text.replace("#", "::"))
    try:
        tree = ast.parse(text.strip())
        statement = tree.body[0] if len(tree.body) == 1 else None
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            return list(check_import(statement))
        if not isinstance(statement, ast.Expr):
            return [f"not one expression: {text}"]
    except (SyntaxError, ValueError) as error:
        return [f"not an expression: {error}"]
    return list(check_nodes(statement.value))


def check_nodes(expression: ast.expr) -> Iterator[str]:
    """Say what is wrong in the tree of an expression."""
    nodes = list(ast.walk(expression))
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    referring = {id(node.value) for node in nodes if isinstance(node, ast.Subscript)}
    for name in sorted(bound & (ROOTS | BUILTINS | {REFERRED})):
        yield f"binds {name} anew"
    for node in nodes:
        if not isinstance(node, SYNTAX) or isinstance(node, ast.MatMult):
            yield f"holds syntax that no setting needs: {type(node).__name__}"
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            if name is None or name.split(".")[0] not in ROOTS:
                if node.attr.startswith("_"):
                    yield f"reaches for {node.attr}"
                elif node.attr not in MEMBERS:
                    yield f"calls .{node.attr}"
            elif id(node) not in inner:
                yield from check_name(name)
        elif isinstance(node, ast.Name):
            if id(node) not in (inner if node.id in ROOTS else referring) and node.id in ROOTS | {REFERRED}:
                yield f"hands on {node.id}"
            elif node.id not in ROOTS | BUILTINS | bound | {REFERRED}:
                yield f"uses {node.id}"


def check_logging(path: Path) -> Iterator[str]:
    """Say what is wrong with a logging.conf, whose `class` and `args` Python evaluates."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, _, value = (part.strip() for part in line.partition("="))
        if (key == "class" and value != "StreamHandler") or (key in ("args", "kwargs") and value != "(sys.stdout,)"):
            yield f"{path}:{number}: {line}; expected are class=StreamHandler and args=(sys.stdout,)"


def read(path: Path) -> dict[str, object]:
    """Parse a config; a key that stands twice is an error."""
    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)


def target_places(files: list[Path]) -> set[str]:
    """Places that a `_target_` refers to; in any config, overlay or section of a phase they hold a target."""
    configs = [path for path in files if path.suffix == ".json"]
    found = set()
    for path in configs:
        with suppress(ValueError):
            hits = visit(read(path), "")
            found |= {text.replace("::", "#")[1:] for where, text in hits if is_target(where) and text[:1] == "@"}
    return {f"#{place}" for place in found} | {f"#{path.stem}#{place}" for path in configs for place in found}


def is_target(where: str) -> bool:
    """Whether what stands there names a class or function; MONAI takes `+` in front of a key as well."""
    return where.rpartition("#")[2].lstrip("+") == "_target_"


def check_file(path: Path, targets: set[str] | None = None) -> list[str]:
    """Problems of one config; ``targets`` are the places that a `_target_` refers to, by default in this file."""
    if path.name == "logging.conf":
        return list(check_logging(path))
    if path.suffix != ".json":
        return [f"{path}: a config is a .json file"]
    try:
        config = read(path)
    except ValueError as error:
        return [f"{path}: {error}"]
    targets = target_places([path]) if targets is None else targets
    problems = []
    alone = "bundle_root" in config  # a complete phase, not an overlay
    for where, text in visit(config, ""):
        found: list[str] = []
        if is_target(where) or where.replace("+", "") in targets:
            found += check_target(text, referred=where.replace("+", "") in targets)
        elif where.rpartition("#")[2].lstrip("+") == "_mode_" and text not in ("default", "callable"):
            found.append(f"mode {text}")
        elif text.startswith("$"):
            found += check_expression(text[1:])
        elif text.startswith("%"):
            found.append(f"takes text from elsewhere ({text}); refer to it with @")
        if text.startswith(("$", "@")) and alone:
            references = REFERENCE.findall(text.replace("#", "::"))
            lost = [name.replace("::", "#") for name in references if name[1:].split("::")[0] not in config]
            found += [f"{name} is not defined" for name in lost]
        problems += [f"{path}{where}: {problem}" for problem in found]
    return problems


def main(folders: list[str]) -> int:
    """Check all configs below the folders; 1 if there is a problem."""
    files = [[file for file in sorted(Path(folder).rglob("*")) if file.is_file()] for folder in folders]
    problems = [problem for group in files for file in group for problem in check_file(file, target_places(group))]
    print("\n".join(problems) or f"{sum(map(len, files))} configs: no problem")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
