"""Lint what a bundle says of itself: nothing may still speak of the bundle that it was copied from.

Where a bundle names itself (root, paths, metadata, phases, title, overview, commands) it names no other bundle, and it
says nothing word for word that another one says of its own method: title, task, description, phases, places in the
paper, figures, pictures. A document may compare with another bundle and link to it. What all bundles share (the
licence, how overlays work) may be alike.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OWN_TEXTS = ("name", "task", "description")  # of metadata.json: what no two bundles have alike
ABOUT_OTHERS = ("references", "data_source", "changelog")  # of metadata.json: may name another method
SHARED_SECTIONS = ("Data", "References", "License")  # of README.md: may be alike
LONG = 120  # characters of a paragraph that two documents do not share by chance
SECTION = re.compile(r"\((?:[A-Z]\.)?\d[\d.]*|the paper")  # a place in a paper, or what a paper says


def name_pattern(name: str) -> re.Pattern[str]:
    """A bundle's name in any writing: ``prostate_mae`` is also Prostate-MAE and prostate mae.

    Example:
        >>> bool(name_pattern("prostate_mae").search("The Prostate-MAE bundle")), bool(name_pattern("a").search("ab"))
        (True, False)
    """
    words = "[ _-]?".join(map(re.escape, name.split("_")))
    return re.compile(rf"(?<![a-z0-9]){words}(?![a-z0-9])", re.I)


def strings(node: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a config and every key, with its place in MONAI's writing: ``train#handlers#0#path``."""
    if isinstance(node, dict):
        for key, value in node.items():
            place = f"{where}#{key}".lstrip("#")
            yield place, key
            yield from strings(value, place)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from strings(value, f"{where}#{number}")
    elif isinstance(node, str):
        yield where, node


def read_configs(bundle: Path) -> dict[str, Any]:
    """The configs by their path below ``configs``."""
    folder = bundle / "configs"
    return {p.relative_to(folder).as_posix(): json.loads(p.read_text("utf-8")) for p in sorted(folder.rglob("*.json"))}


def check_names(bundle: Path, others: list[str]) -> Iterator[str]:
    """Configs name no other bundle where they name themselves: the root, paths, metadata, and what a phase is."""
    configs = read_configs(bundle)
    chain = {"train.json", *(f"{phase}.json" for phase in configs.get("train.json", {}).get("phases", ()))}
    for file, config in configs.items():
        path = bundle / "configs" / file
        for place, text in strings(config):
            for root in re.findall(r"find_root\(['\"](\w+)['\"]\)", text):
                if root != bundle.name:
                    yield f"{path}: {place}: find_root({root!r}), and the bundle is {bundle.name}"
            yield from (f"{path}: {place} names {other}: {text[:60]!r}" for other in _paths_of(others, text))
        if file == "metadata.json":
            config = {key: value for key, value in config.items() if key not in ABOUT_OTHERS}
        elif file in chain:
            config = {"_desc_": config.get("_desc_")}
        else:
            continue
        for place, text in strings(config):
            yield from (f"{path}: {place} names {other}: {text[:60]!r}" for other in _named(others, text))


def _paths_of(others: list[str], text: str) -> list[str]:
    """Bundles into whose folder a text leads, or which a command in it is about."""
    return [other for other in others if re.search(rf"(?:bundles/|--bundle[ =]){other}(?!\w)", text)]


def _named(others: list[str], text: str) -> list[str]:
    return [other for other in others if name_pattern(other).search(text)]


def check_documents(bundle: Path, others: list[str]) -> Iterator[str]:
    """Title and overview name no other bundle but in a link to it; commands are about this one, and name what exists.

    Elsewhere a document may compare.
    """
    for path in sorted([*bundle.glob("docs/*.md"), *bundle.glob("docs/*.txt")]):
        section, fenced = "", False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= line.startswith("```")
            section = line if line.startswith("#") and not fenced else section
            for config in re.findall(r"bundles/(\w+/configs/[\w/]+\.json)", line):
                if not (bundle.parent / config).is_file():
                    yield f"{path}:{number}: there is no bundles/{config}"
            text = re.sub(r"\[[^\]]*\]\([^)]*\)", "", line)
            found = _paths_of(others, text)
            if path.name == "README.md" and (section.startswith("# ") or section == "## Overview"):
                found += _named(others, text)
            yield from (f"{path}:{number}: names {other}" for other in dict.fromkeys(found))


def own_texts(bundle: Path) -> Iterator[tuple[str, Any]]:
    """What a bundle says of its own method alone: place and content."""
    for file, config in read_configs(bundle).items():
        path = (bundle / "configs" / file).as_posix()
        if file == "metadata.json":
            yield from ((f"{path}: {key}", config[key]) for key in OWN_TEXTS if config.get(key))
            continue
        learns = "run" in config and ("product" in config or file == "train.json")
        for key, text in config.items():
            if key[:6] == "_desc_" and (SECTION.search(str(text)) or (key == "_desc_" and learns)):
                yield f"{path}: {key}", text
        if config.get("_paper_"):
            yield f"{path}: _paper_", json.dumps(config["_paper_"], sort_keys=True)
    readme = bundle / "docs/README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for section in re.split(r"(?m)^(?=#+ )", re.sub(r"(?ms)^```.*?^```", "", text)):
        title = section.split("\n", 1)[0]
        if title.startswith("# "):
            yield f"{readme}: title", title
        if title.lstrip("# ") in SHARED_SECTIONS:
            continue
        for part in re.split(r"\n\s*\n", section):
            text = re.sub(r"\s+", " ", part).strip()
            rows = [row for row in part.splitlines() if row.startswith("|") and len(re.findall(r"\d+", row)) > 2]
            if len(text) >= LONG and not rows:
                yield f"{readme}: {title.lstrip('# ')}", text
            yield from ((f"{readme}: {title.lstrip('# ')}", row) for row in rows)
    for path in sorted(bundle.glob("docs/*")):
        if path.is_file() and path.name not in ("README.md", "data_license.txt"):
            yield path.as_posix(), path.read_bytes()


def check_copies(bundles: list[Path]) -> Iterator[str]:
    """What two bundles both say of their own method is a copy that was left."""
    seen: dict[Any, tuple[Path, str]] = {}
    found: dict[str, str] = {}  # one problem for each place, however much of it is copied
    for bundle in bundles:
        for place, content in own_texts(bundle):
            first, where = seen.setdefault(content, (bundle, place))
            if first != bundle:
                found.setdefault(place, f"{place} is as in {where}: {content[:60]!r}")
    yield from found.values()


def check_bundles(root: Path = ROOT) -> Iterator[str]:
    """Everything, for all bundles below a root."""
    bundles = sorted(path.parents[1] for path in root.glob("bundles/*/configs/metadata.json"))
    for bundle in bundles:
        others = [other.name for other in bundles if other != bundle]
        yield from check_names(bundle, others)
        yield from check_documents(bundle, others)
    yield from check_copies(bundles)


def main(root: Path = ROOT) -> int:
    """Check all bundles; 1 if there is a problem."""
    problems = [problem.replace(f"{root}/", "") for problem in check_bundles(root)]
    print("\n".join(problems) or "bundles: each speaks of itself")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
