"""Lint the repository around the code: licences, metadata of bundles, links in documents, unsafe loading of pickles."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
from unsafe_code import check_unsafe

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
# Below these, MONAI unpacks archives outside of their folder and loads checkpoints unsafely (CVE-2025-58755 to 58757),
# and torch.load(weights_only=True) can be made to run code (CVE-2025-32434).
FLOORS = {"monai": (1, 6, 1), "torch": (2, 6)}


def check_licences(bundle: Path) -> Iterator[str]:
    """A bundle has a licence of its own and one of its data, and the package's licence is the bundles'."""
    for name in ("LICENSE", "docs/data_license.txt", "docs/README.md"):
        path = bundle / name
        if not path.is_file() or not path.read_text(encoding="utf-8").strip():
            yield f"{path}: missing or empty"
    if (bundle / "LICENSE").is_file() and "Apache License" not in (bundle / "LICENSE").read_text(encoding="utf-8"):
        yield f"{bundle / 'LICENSE'}: not the Apache License"


def check_metadata(bundle: Path, schema: dict) -> Iterator[str]:
    """metadata.json follows MONAI's schema, and its version has an entry in its changelog."""
    path = bundle / "configs/metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(metadata, schema)
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        yield f"{path}: {str(error).splitlines()[0]}"
        return
    if metadata["version"] not in metadata.get("changelog", {}):
        yield f"{path}: version {metadata['version']} has no entry in the changelog"


def check_floors(path: Path) -> Iterator[str]:
    """Check that a file of requirements excludes versions with known vulnerabilities."""
    text = path.read_text(encoding="utf-8")
    for package, floor in FLOORS.items():
        found = re.findall(rf"""(?m)^[ "']*{package}(?:==|>=)([0-9.]+)""", text)
        if not found:
            yield f"{path}: no version of {package} is asked for"
        for version in found:
            if tuple(int(part) for part in version.split(".")) < floor:
                yield f"{path}: {package} {version}, expected is at least {'.'.join(map(str, floor))}"


def find_documents(root: Path = ROOT) -> list[Path]:
    """The Markdown files that people read."""
    return sorted(file for pattern in ("*.md", "ci/pages/*.md", "bundles/*/docs/*.md") for file in root.glob(pattern))


def find_anchors(document: Path) -> set[str]:
    """Names that links to the headings of a Markdown file use."""
    text = re.sub(r"(?ms)^```.*?^```", "", document.read_text(encoding="utf-8"))
    titles = (line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def check_links(document: Path) -> Iterator[str]:
    """Relative links of a Markdown file lead to something that exists; anchors to a heading."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for match in LINK.finditer(text):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists():
            yield f"{document}: {target} does not exist"
        elif anchor and file.suffix == ".md" and anchor not in find_anchors(file):
            yield f"{document}: {target} is no heading"


def main(root: Path = ROOT) -> int:
    """Check everything; 1 if there is a problem."""
    schema = json.loads((root / "tests/bundles/meta_schema_20240725.json").read_text(encoding="utf-8"))
    problems: list[str] = []
    bundles = sorted(path.parents[1] for path in root.glob("bundles/*/configs/metadata.json"))
    for bundle in bundles:
        problems += [*check_licences(bundle), *check_metadata(bundle, schema)]
    documents = find_documents(root)
    for document in documents:
        problems += check_links(document)
    code = [file for folder in ("monai_ext", "ci", "bundles") for file in sorted((root / folder).rglob("*.py"))]
    for file in code:
        problems += check_unsafe(file)
    for name in ("requirements.txt", "pyproject.toml"):
        problems += check_floors(root / name)
    print("\n".join(problems) or f"{len(bundles)} bundles, {len(documents)} documents, {len(code)} modules: no problem")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
