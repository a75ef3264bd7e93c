"""Pack bundles in the model zoo's form, each with the wheel of monai_ext; run by ci/pack."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from monai_ext.data.io.image_files import content_hash as sha256

ROOT = Path(__file__).parents[1]
LARGE = 25 * 2**20  # bytes; the model zoo keeps larger files elsewhere
LEFT_OUT = ("output", "demo", "rows", "mlruns*", "*.db", "__pycache__", ".*", "eval", "*.record.json")  # name patients
APART = ("weights", "evidence")  # named weights are shared as bundles of their own, see monai_ext.derive
CARD = "docs/model_card.md"


def build_wheel(folder: Path) -> Path:
    """Build the wheel of monai_ext from a copy of its files, so that the tree stays unchanged."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        shutil.copytree(ROOT / "monai_ext", source / "monai_ext", ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "-w", str(folder), str(source)], check=True)
    return next(folder.glob("monai_ext-*.whl"))


def model_card(bundle: Path, metadata: dict) -> str:
    """README.md of a Hugging Face repository: the bundle's documents after a card's front matter."""
    image = next(iter(metadata["network_data_format"]["inputs"].values()))
    card = {
        "license": "apache-2.0",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", "segmentation", "self-supervised", image.get("modality", "image").lower()],
        "model_name": metadata["name"],
        "version": metadata["version"],
        "intended_use": metadata["intended_use"],
    }
    return f"---\n{yaml.safe_dump(card, sort_keys=False, width=120)}---\n\n{(bundle / 'docs/README.md').read_text()}"


def check_card(bundle: Path) -> None:
    """Refuse weights that no card describes, such as those of a trial: the card names each file's SHA-256.

    Raises:
        SystemExit: names the file and what to write.
    """
    card = bundle / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    for weights in sorted((bundle / "models").glob("*.pt")):
        if (found := sha256(weights)) not in text:
            raise SystemExit(
                f"error: {weights}: {card} {'does not name this file' if text else 'is missing'}. Write there what the "
                "weights were trained on, how many patients, how well they do on patients never seen, with intervals, "
                f"their limits and licence, and the line sha256: {found}; or move the weights away"
            )


def write_safetensors(weights: Path) -> None:
    """Write a copy of the weights beside them in a format that cannot hold code."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    state = state.get("model", state)
    tensors = {name: value.contiguous().clone() for name, value in state.items()}
    save_file(tensors, weights.with_suffix(".safetensors"), metadata={"format": "pt"})


def move_large_files(bundle: Path, dist: Path, url: str) -> list[dict[str, str]]:
    """Take files over 25 MB out of the bundle, list them in large_files.yml, and leave them in ``dist``."""
    listed = []
    for path in sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size > LARGE):
        inside = path.relative_to(bundle).as_posix()
        kept = dist / f"{bundle.name}_large" / inside
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        where = f"{url.rstrip('/')}/{bundle.name}_large/{inside}"
        listed.append({"path": inside, "url": where, "hash_val": sha256(kept), "hash_type": "sha256"})
    if listed:
        (bundle / "large_files.yml").write_text(yaml.safe_dump({"large_files": listed}, sort_keys=False))
    return listed


def write_zip(folder: Path, path: Path) -> None:
    """Write a reproducible zip: files in order of their names, all with one date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}", (1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, file.read_bytes())


def pack(source: Path, dist: Path, url: str | None = None, wheel: Path | None = None) -> Path:
    """Pack one bundle.

    Args:
        source: its directory; weights in ``models`` go with it.
        dist: folder of the zip and of the files that are too large for it.
        url: where ``dist`` will be published.
        wheel: of monai_ext, built if None.

    Returns:
        The zip, ``<name>_v<version>.zip``.

    Raises:
        SystemExit: there are weights without a card.
    """
    check_card(source)
    metadata = json.loads((source / "configs/metadata.json").read_text())
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / source.name
        shutil.copytree(source, bundle, ignore=shutil.ignore_patterns(*LEFT_OUT, *APART))
        for weights in sorted((bundle / "models").glob("*.pt")):
            write_safetensors(weights)
        (bundle / "README.md").write_text(model_card(bundle, metadata))
        (bundle / "wheels").mkdir()
        shutil.copy(wheel or build_wheel(Path(temporary)), bundle / "wheels")
        large = move_large_files(bundle, dist, url or dist.resolve().as_uri())
        path = dist / f"{source.name}_v{metadata['version']}.zip"
        write_zip(bundle, path)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB, sha256 {sha256(path)}")
    for file in large:
        print(f"  too large for it: {file['path']}, to be put at {file['url']}")
    return path


def main() -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bundles; all if none is named")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the zips")
    parser.add_argument("--url", help="where the folder will be published, for large_files.yml")
    options = parser.parse_args()
    known = {path.parents[1].name: path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json")}
    if unknown := set(options.names) - known.keys():
        parser.error(f"no bundle {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    with tempfile.TemporaryDirectory() as temporary:
        wheel = build_wheel(Path(temporary))
        for name in options.names or sorted(known):
            pack(known[name], options.dist, options.url, wheel)


if __name__ == "__main__":
    main()
