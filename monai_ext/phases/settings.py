"""What a setting of a config may hold: its kind, default and sentence, read off the config and signatures."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from monai.bundle.config_item import ComponentLocator

__all__ = [
    "ANY",
    "Kind",
    "Setting",
    "Use",
    "describe_settings",
    "find_target",
    "kind_of_annotation",
    "kind_of_setting",
    "parameters_of",
]

_REFERENCE = re.compile(r"@([\w#]+(?:::[\w#]+)*)")
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "path": "a path",
    "list": "a list",
    "dict": "a mapping",
    "device": "a device such as cpu or cuda:0",
    "none": "null",
}
_PLACES = ("_dir", "_root", "datalist", "model", "weights", "pretrained")  # ends of names of files and folders
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Kind:
    """What a setting may hold.

    Args:
        names: any of ``bool, int, float, str, path, list, dict, device, none``; empty for anything.
        element: kind of a list's elements, where it is known.
        choices: the words that a text may be; empty for any.

    Example:
        >>> Kind(frozenset({"bool"})).convert("no")
        False
        >>> Kind(frozenset({"int", "none"})).convert("null") is None
        True
        >>> Kind(frozenset({"list"}), element=Kind(frozenset({"str"}))).convert("t1,flair")
        ['t1', 'flair']
    """

    names: frozenset[str] = frozenset()
    element: Kind | None = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            words = [" or ".join(map(repr, self.choices))]
        else:
            words = [text for name, text in _WORDS.items() if name in self.names - {"none"}]
            if "list" in self.names and self.element is not None and self.element.names:
                words[words.index("a list")] = f"a list, each element {self.element}"
        return " or ".join(words + (["null"] if "none" in self.names else [])) or "anything"

    def convert(self, value: Any) -> Any:
        """The value as this kind has it: ``"no"`` is False, ``20.0`` is 20, ``"null"`` is None.

        Raises:
            ValueError: the value is of another kind.
        """
        if not self.names or (isinstance(value, str) and value[:1] in ("$", "@", "%")):
            return value
        if value is None or (isinstance(value, str) and value.lower() in ("null", "none")):
            if "none" in self.names:
                return None
            raise ValueError(f"must be {self}, not null")
        for name in ("bool", "device", "int", "float", "list", "dict", "path", "str"):
            if name in self.names:
                found = self._as(name, value)
                if found is not None:
                    return found
        raise ValueError(f"must be {self}, not {value!r}")

    def _as(self, name: str, value: Any) -> Any:
        """The value as one of the basic kinds; None if it is not of that kind."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "bool":
            word = str(value).lower()
            if isinstance(value, bool):
                return value
            return word in _TRUE if word in _TRUE + _FALSE and not isinstance(value, float) else None
        if name == "int":
            return int(value) if number and float(value).is_integer() else None
        if name == "float":
            return float(value) if number else _float(value)
        if name == "list" and isinstance(value, list | tuple):
            return [value_ if self.element is None else self.element.convert(value_) for value_ in value]
        if name == "list" and isinstance(value, str) and self.element is not None and "str" in self.element.names:
            return [word.strip() for word in value.split(",") if word.strip()] or None
        if name == "dict":
            return value if isinstance(value, Mapping) else None
        if name == "device":
            return _device(value)
        if name == "path" and isinstance(value, str | Path):
            return str(value) or None
        if name == "str" and isinstance(value, str):
            if self.choices and value not in self.choices:
                return None
            return value
        return None

    def or_none(self) -> Kind:
        """This kind, and null."""
        return replace(self, names=self.names | {"none"}) if self.names else self


ANY = Kind()


def _float(value: Any) -> float | None:
    try:  # fire leaves 1e-3 as text where YAML 1.1 would
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _device(value: Any) -> Any:
    if isinstance(value, torch.device):
        return value
    try:
        device = torch.device(value) if isinstance(value, str) else None
    except RuntimeError:
        return None
    if device is not None and device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(f"is {value}, and this machine has {count or 'no'} CUDA device{'s'[: count != 1]}")
    return device


def _kind(*names: str, element: Kind | None = None) -> Kind:
    return Kind(frozenset(names), element)


def _union(kinds: Sequence[Kind]) -> Kind:
    """What is of any of these kinds; anything, where one of them is."""
    if not kinds or not all(kind.names for kind in kinds):
        return ANY
    choices = {word for kind in kinds for word in kind.choices}
    free = any("str" in kind.names and not kind.choices for kind in kinds)
    element = next((kind.element for kind in kinds if kind.element is not None), None)
    return Kind(
        frozenset[str]().union(*(kind.names for kind in kinds)), element, () if free else tuple(sorted(choices))
    )


def kind_of_annotation(annotation: Any) -> Kind:
    """Kind of what a parameter with a type annotation takes.

    Example:
        >>> str(kind_of_annotation(float | None))
        'a number or null'
    """
    basic = {bool: "bool", int: "int", float: "float", str: "str", Path: "path", torch.device: "device"}
    if annotation in basic:
        return _kind(basic[annotation])
    if annotation in (None, type(None)):
        return _kind("none")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        found = _union([kind_of_annotation(argument) for argument in arguments])
        return found
    if origin is typing.Literal:
        return Kind(frozenset({"str"}), choices=tuple(map(str, arguments)))
    holder = origin or annotation
    if inspect.isclass(holder) and issubclass(holder, Mapping | dict):
        return _kind("dict")
    if inspect.isclass(holder) and issubclass(holder, Sequence | list | tuple):
        element = kind_of_annotation(arguments[0]) if arguments else ANY
        return _kind("list", element=element if element.names else None)
    return ANY


@functools.cache
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.cache
def find_target(name: str) -> Callable[..., Any] | None:
    """The class or function that a ``_target_`` or a dotted name in an expression means; None if there is none."""
    if not re.fullmatch(r"[\w.]+", name):
        return None
    module = None if "." in name else _locator().get_component_module_name(name)
    where = module[0] if isinstance(module, list) else module
    found = locate(f"{where}.{name}" if where else name)
    return found if callable(found) else None


@functools.cache
def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a forward reference to what is imported for type checkers alone
        hints = {}
    for name, parameter in parameters_of(target).items():
        if name not in hints:
            default = parameter.default
            plain = isinstance(default, bool | int | float | str)
            hints[name] = type(default) if plain and parameter.annotation is parameter.empty else Any
    return hints


@functools.cache
def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters by name, ``**kwargs`` included; empty where the signature is not known."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}


def _sentence(target: Callable[..., Any], parameter: str) -> str:
    """What the docstring of a target says of a parameter."""
    text = inspect.getdoc(target) or ""
    found = re.search(rf"^ +{parameter}(?: \([^)]*\))?: (.*(?:\n {{8,}}.*)*)", text, re.M)
    return re.sub(r"\s+", " ", found.group(1)).strip() if found else ""


@dataclass(frozen=True)
class Use:
    """A place where a config hands a setting to a parameter."""

    target: Callable[..., Any]
    parameter: str

    @property
    def kind(self) -> Kind:
        """Of the parameter."""
        return kind_of_annotation(_hints(self.target).get(self.parameter, Any))

    @property
    def sentence(self) -> str:
        """Of the docstring."""
        return _sentence(self.target, self.parameter)


def _parse(text: str) -> ast.expr | None:
    try:
        return ast.parse(
            _REFERENCE.sub(lambda m: "REF_" + re.sub("#|::", "__", m.group(1)), text[1:]), mode="eval"
        ).body
    except SyntaxError:
        return None


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""


def _uses_in_expression(text: str, name: str) -> Iterator[Use]:
    tree = _parse(text)
    wanted = "REF_" + name
    for node in ast.walk(tree) if tree is not None and f"@{name}" in text else ():
        if isinstance(node, ast.Call) and (target := find_target(_dotted(node.func))) is not None:
            positional = [p for p in parameters_of(target) if p != "self"]
            handed = [*zip(positional, node.args), *((k.arg, k.value) for k in node.keywords if k.arg)]
            for parameter, value in handed:
                if isinstance(value, ast.Name) and value.id == wanted and parameter:
                    yield Use(target, parameter)


def _uses(node: Any, name: str) -> Iterator[Use]:
    """Parameters that a config hands ``@name`` to."""
    if isinstance(node, Mapping):
        target = find_target(node["_target_"]) if isinstance(node.get("_target_"), str) else None
        for key, value in node.items():
            if value == f"@{name}" and target is not None:
                yield Use(target, key)
            yield from _uses(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _uses(value, name)
    elif isinstance(node, str) and node.startswith("$"):
        yield from _uses_in_expression(node, name)


def _kind_of_value(value: Any, config: Mapping[str, Any], seen: tuple[str, ...]) -> Kind:
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return _kind("float" if kind is float else kind.__name__)
    if isinstance(value, list):
        numbers = value and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        element = _kind("int" if all(isinstance(v, int) for v in value) else "float") if numbers else None
        words = value and all(isinstance(v, str) and v[:1] not in ("$", "@", "%") for v in value)
        return _kind("list", element=_kind("str") if words else element)
    if isinstance(value, Mapping):
        return ANY if "_target_" in value else _kind("dict")
    if isinstance(value, str) and value.startswith("@"):
        return kind_of_setting(config, value[1:], seen)
    if isinstance(value, str) and value.startswith("$"):
        tree = _parse(value)
        return ANY if tree is None else _kind_of_tree(tree, config, seen)
    return _kind("str") if isinstance(value, str) else ANY


def _kind_of_tree(tree: ast.expr, config: Mapping[str, Any], seen: tuple[str, ...]) -> Kind:
    """Kind of what an expression gives, as far as its form tells."""
    if isinstance(tree, ast.Constant):
        return _kind("none") if tree.value is None else _kind_of_value(tree.value, config, seen)
    if isinstance(tree, ast.Name) and tree.id.startswith("REF_"):
        return kind_of_setting(config, tree.id[4:], seen)
    if isinstance(tree, ast.Compare) or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)):
        return _kind("bool")
    if isinstance(tree, ast.IfExp):
        return _union([_kind_of_tree(part, config, seen) for part in (tree.body, tree.orelse)])
    if isinstance(tree, ast.List | ast.ListComp | ast.Tuple):
        return _kind("list")
    if isinstance(tree, ast.BinOp):
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        if texts:
            return _kind("path" if any("/" in n.value for n in texts) else "str")  # type: ignore[operator]
        sides = [_kind_of_tree(part, config, seen) for part in (tree.left, tree.right)]
        if all(side.names and side.names <= {"int", "float", "none"} for side in sides):
            return (
                _kind("int")
                if all(side.names == {"int"} for side in sides) and not isinstance(tree.op, ast.Div)
                else _kind("float")
            )
        return ANY
    if isinstance(tree, ast.Call):
        target = find_target(_dotted(tree.func))
        if target is torch.device:
            return _kind("device")
        if target in (int, float, bool, str, len):
            return _kind("int" if target is len else target.__name__)
        found = _hints(target).get("return", Any) if target is not None and not inspect.isclass(target) else Any
        return kind_of_annotation(found)
    return ANY


def kind_of_setting(config: Mapping[str, Any], name: str, seen: tuple[str, ...] = ()) -> Kind:
    """What a top-level setting may hold: by its default, and where the default does not tell, by where it is handed.

    A setting may be null if its default is, or if a parameter that it is handed to may.

    Args:
        config: a config as it is written.
        name: of the setting.
        seen: names that led here, so that references in a circle end.
    """
    if name in seen or name not in config:
        return ANY
    uses = [use.kind for use in _uses({k: v for k, v in config.items() if k[:1] != "_"}, name)]
    found = _kind_of_value(config[name], config, (*seen, name))
    if not (found.names - {"none"}):
        known = [kind for kind in uses if kind.names - {"none"}]
        found = _union(known[:1]) if known else ANY
    if found.names == {"str"}:
        words = next((kind.choices for kind in uses if kind.choices), ())
        folder = name.endswith(_PLACES)
        found = Kind(frozenset({"path"})) if folder else replace(found, choices=words)
    for kind in uses:  # a parameter that takes more than the default shows: a fold or several, a name or sizes
        if found.names == {"device"}:
            continue
        if found.names < kind.names - {"none"} or (found.names == {"int"} and "float" in kind.names):
            found = replace(found, names=found.names | kind.names, element=found.element or kind.element)
    nullable = config[name] is None or any("none" in kind.names for kind in uses)
    return found.or_none() if nullable else found


@dataclass(frozen=True)
class Setting:
    """A setting of a phase as ``python -m monai_ext.options`` lists it."""

    name: str
    kind: Kind
    default: Any
    sentence: str


def describe_settings(config: Mapping[str, Any], names: Sequence[str]) -> list[Setting]:
    """Kind, default and sentence of settings: the config's own ``_desc_<name>``, else what the docstring says that
    explains the parameter which the setting is handed to."""
    whole = {k: v for k, v in config.items() if k[:1] != "_"}
    found = []
    for name in names:
        sentence = config.get(f"_desc_{name}") or next((u.sentence for u in _uses(whole, name) if u.sentence), "")
        found.append(Setting(name, kind_of_setting(config, name), config[name], sentence))
    return found
