"""Use the MONAI Label server with every bundle as a viewer would, and stop at the first failure.

Run by ci/test-monailabel, with the page whose lines start the server: they are run as they stand there, for another
bundle, folder of studies and port. Each bundle is derived, so that training writes into a copy. It has the sizes of
``demo.json``, for one epoch on a CPU, unless ``--full`` is given, and weights that nobody trained unless the bundle
brings ``models/model.pt`` along with ``--full``; they serve as well to see that weights are loaded, used and changed.
``--overlay=FILE``, once or more, serves the bundle with an overlay of its configs, for example a row of a table.
Where there are real scans, the weights that come with a bundle are served too, as they are: the mask of a scan that
they never saw must be the one that ``monai_ext.predict`` gives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import monailabel
import nibabel as nib
import numpy as np
import requests
import torch
from monai.bundle import ConfigParser
from monai.data import ITKReader, NibabelReader
from monai.transforms import LoadImage, ResampleToMatch
from page_block import page_block

from monai_ext.derive import derive
from monai_ext.predict import predict
from monai_ext.select.studies import link_studies

ROOT = Path(__file__).parents[1]
MODEL = "apps/monaibundle/model"  # where the page copies a bundle to
IMAGES = (".nii.gz", ".nii", ".mha")
SHIPPED = {  # the scans of the weights that come with a bundle, in the folder of real scans
    "hippocampus": {"image": "hippocampus_mr/imagesTr/{}.nii.gz"},
    "sarcoma": {"pet": "sts_petct/{}/SUV.nii.gz", "ct": "sts_petct/{}/CTres.nii.gz"},
}
REAL = {"t2w": "prostatex_bpmri", "suv": "sts_petct", "pet": "sts_petct"}  # by the bundle's first modality


@dataclass
class Study:
    """One case in the data store: the files of its modalities, the first of which a viewer opens."""

    id: str  # the data store's name of the image: what is left of the file's name before `pattern`
    files: dict[str, Path]  # by modality, the first is the image
    label: Path | None = None

    @property
    def image(self) -> Path:
        """What a viewer opens."""
        return next(iter(self.files.values()))

    @property
    def pattern(self) -> str:
        """Names of such images: the data store then takes none of the other files for an image."""
        return "*" + self.image.name.removeprefix(self.id)


@dataclass
class Served:
    """A bundle and the studies that it is tried on."""

    name: str
    folder: Path
    infer: list[tuple[str, Study]] = field(default_factory=list)
    train: list[Study] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)  # to the images of `train`, as monai_ext.select writes them


def extension(path: Path) -> str:
    """Of an image file."""
    return next((end for end in IMAGES if path.name.endswith(end)), path.suffix)


def read(path: Path) -> Any:
    """An image as MONAI reads it, ``[1, X, Y, Z]`` with its affine."""
    reader = NibabelReader() if path.name.endswith(IMAGES[:2]) else ITKReader(affine_lps_to_ras=True)
    return LoadImage(reader=reader, image_only=True, ensure_channel_first=True)(str(path))


def write(volume: np.ndarray, affine: Any, path: Path) -> Path:
    """A NIfTI file."""
    nib.save(nib.Nifti1Image(volume, np.asarray(affine, dtype=float)), path)
    return path


def config(folder: Path, file: str) -> ConfigParser:
    """A config of a bundle, as MONAI Label reads it."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / file))
    parser["bundle_root"] = str(folder)
    return parser


def modalities(case: dict[str, Any], root: Path) -> dict[str, Path]:
    """The files of a case by key, in the order of the datalist."""
    paths = {k: root / v for k, v in case.items() if isinstance(v, str) and extension(Path(v)) in IMAGES}
    return {key: path for key, path in paths.items() if path.is_file()}


def add(case: dict[str, Any], root: Path, studies: Path, needed: list[str]) -> Study:
    """Copy a case into the data store, flat, each name with the case's id in front."""
    found = modalities(case, root)
    label = found.pop("label", None)
    copies = {}
    for key in sorted(found, key=lambda key: needed.index(key) if key in needed else len(needed)):
        path = found[key]
        end = path.name.removeprefix(str(case["id"]))
        end = f"_{key}{end}" if end == extension(path) else end if end.startswith("_") else f"_{end}"
        copies[key] = Path(shutil.copy(path, studies / f"{case['id']}{end}"))
    return Study(str(case["id"]), copies, label)


def stack(study: Study, keys: list[str], studies: Path, case: str) -> Study:
    """The modalities in the order of the channels as one 4-D NIfTI on the grid of the image, masks beside it."""
    match, grid = ResampleToMatch(mode="bilinear", padding_mode="zeros"), read(study.image)
    volumes = [match(read(study.files[key]), grid) for key in keys]
    array = np.stack([volume.numpy()[0] for volume in volumes], axis=-1).astype(np.float32)
    copies = {"image": write(array, grid.affine, studies / f"{case}_stack.nii.gz")}
    for key, path in study.files.items():
        if key not in keys:  # a gland mask
            copies[key] = Path(shutil.copy(path, studies / f"{case}_stack_{key}{extension(path)}"))
    return Study(case, copies)


def image_keys(metadata: dict[str, Any], case: dict[str, Path]) -> list[str]:
    """The modalities that a bundle takes, in the order of its channels."""
    channels = next(iter(metadata["network_data_format"]["inputs"].values()))["channel_def"].values()
    named = [{"dwi": "hbv"}.get(name.lower(), name.lower()) for name in channels]
    return [name for name in named if name in case] or list(case)[:1]


def known_patients(record: Path) -> list[str]:
    """Patients that a network in front of the network learned from; their maps must not train what follows."""
    return json.loads(record.read_text())["training_patients"]


def prepare(name: str, bundles: Path, studies: Path, full: bool, overlays: list[str]) -> Served:
    """Make a bundle with overlays in its configs and with weights, and copy its studies into the data store."""
    source, folder = ROOT / "bundles" / name, bundles / name
    laid = overlays if full else ["demo.json", *overlays]
    derive(str(source), name, [str(source / "configs" / overlay) for overlay in laid], out=str(folder.parent))
    if full and (source / "models").is_dir():
        shutil.copytree(source / "models", folder / "models")
    (folder / "models").mkdir(exist_ok=True)
    inference = config(folder, "inference.json")
    if "mapper" in inference and not (folder / "models/generators").is_dir():  # a network in front of the network
        train = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training"]
        command = [*train, "--config_file", "configs/train.json"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        check(run.returncode == 0, f"training of {name} failed:\n{run.stderr[-4000:]}")
    elif not (folder / "models/model.pt").is_file():
        torch.manual_seed(0)
        torch.save(inference.get_parsed_content("network_def").state_dict(), folder / "models/model.pt")
    training = config(folder, "train.json")
    root = Path(training.get_parsed_content("dataset_dir"))
    datalist = json.loads(Path(training.get_parsed_content("datalist")).read_text())
    served = Served(name, folder)
    metadata = json.loads((folder / "configs/metadata.json").read_text())
    case = datalist["testing"][0]
    channels = image_keys(metadata, modalities(case, root))
    keys = [key for key in modalities(case, root) if key in channels]  # the first one is what a viewer opens
    phantom = add(case, root, studies, keys)
    served.infer.append(("phantom, sibling files" if len(keys) > 1 else "phantom", phantom))
    if len(keys) > 1:
        served.infer.append(("phantom, one 4-D NIfTI", stack(phantom, channels, studies, f"{name}_phantom")))
    known = {
        p
        for file in folder.glob("models/generators/*/split0/*.json")
        if ".record" not in file.name
        for p in known_patients(file)
    }
    labelled = [item for item in datalist["training"] if "label" in item and item["id"] not in known]
    labelled.sort(key=lambda item: -int((read(root / item["label"]) > 0).any()))
    served.train = [add(item, root, studies, keys) for item in labelled[2::-1]]  # not in the order of their names
    scans = {study.id: [{"id": study.id, keys[0]: str(study.image)}] for study in served.train}
    served.links = link_studies(studies, list(scans), scans)
    for what, study in real_studies(keys, studies):
        served.infer.append((f"{what}, sibling files", study))
        served.infer.append((f"{what}, one 4-D NIfTI", stack(study, channels, studies, f"{name}_{study.id}")))
    return served


def real_studies(keys: list[str], studies: Path) -> Iterator[tuple[str, Study]]:
    """A real scan of the bundle's modalities, if there is one."""
    folder = Path(os.environ.get("MONAI_EXT_REAL_DATA", "/nowhere")) / REAL.get(keys[0].lower(), "nothing")
    if not folder.is_dir() or len(keys) < 2:
        return
    if keys[0] == "t2w":
        case = sorted(folder.glob("ProstateX-*"))[0]
        files = {key: next(case.glob(f"*_{key}.mha")) for key in keys}
        files["gland"] = next(case.glob("masks*/*gland*"))
    else:
        case = sorted(path for path in folder.glob("STS_*") if (path / "SUV.nii.gz").is_file())[0]
        names = {"suv": "SUV.nii.gz", "pet": "SUV.nii.gz", "ct": "CTres.nii.gz", "ctres": "CTres.nii.gz"}
        files = {key: case / names[key.lower()] for key in keys}
    copies = {}
    for key, path in files.items():
        ending = f"_{key}{extension(path)}" if keys[0] == "t2w" else f"_{path.name}"
        copies[key] = Path(shutil.copy(path, studies / f"{case.name}{ending}"))
    yield f"real scan {case.name}", Study(case.name, copies)


def with_weights(name: str, folder: Path) -> Iterator[Served]:
    """The weights that come with a bundle, each as a bundle of its own, and a real scan that they never saw."""
    real = Path(os.environ.get("MONAI_EXT_REAL_DATA", "/nowhere"))
    for place in sorted((ROOT / "bundles" / name / "weights").glob("*/")):
        tested = re.search(r"Never seen: `([\w-]+)`", (place / "model_card.md").read_text())[1]
        case = {"id": tested, **{key: path.format(tested) for key, path in SHIPPED[place.name].items()}}
        if len(modalities(case, real)) < len(SHIPPED[place.name]):
            continue
        studies = folder / place.name / "studies"
        studies.mkdir(parents=True)
        derive(str(ROOT / "bundles" / name), place.name, weights=place.name, out=str(folder / "bundles"))
        (folder / place.name / "bundles").symlink_to(folder / "bundles")
        study = add(case, real, studies, list(SHIPPED[place.name]))
        yield Served(place.name, folder / "bundles" / place.name, [(tested, study)])


def use_weights(address: str, served: Served, folder: Path, say: Any, bundle: str) -> None:
    """Segment the real scan with the server and with the command: the masks are one and the same."""
    model = requests.get(f"{address}/info/", timeout=60).json()["models"][served.name]
    [(tested, study)] = served.infer
    say("/infer", f"real scan {tested}: {infer(address, served, study, set(model['labels'].values()), folder)}")
    item = {"id": tested, **{key: str(path) for key, path in study.files.items()}}
    [outcome] = predict([item], folder / "predicted" / served.name, bundle, weights=served.name, device="cpu")
    check(outcome.mask, f"predict: {outcome.cause}")
    theirs, ours = (np.asarray(nib.load(path).dataobj) for path in (folder / "mask.nii.gz", outcome.mask))
    equal = float((theirs == ours)[(theirs > 0) | (ours > 0)].mean()) if ours.any() else 0.0
    check(equal > 0.998, f"the server's mask and predict's agree on {equal:.2%} of what either of them segments")
    say("predict", f"the same mask ({equal:.2%} of {int((ours > 0).sum())} voxels, classes included)")


def session(page: str, names: list[str], studies: Path, patterns: list[str], port: int) -> str:
    """What the page says after the installation, for these bundles, studies, patterns of their images and port."""
    lines = page_block(page, "monailabel start_server").partition("pip install")[2].partition("\n")[2]
    shown = Path(page).parts[-3]  # the bundle of the page
    copy = next(line for line in lines.splitlines() if line.startswith("cp "))
    lines = lines.replace(copy, "\n".join(copy.replace(shown, name) for name in names))
    replaced = {
        rf"--conf models {shown}": f"--conf models {','.join(names)}",
        r"EXT='[^']*'": f"EXT='{json.dumps(patterns)}'",
        r"--studies \S+": f"--studies {studies}",
        r"--port \d+": f"--port {port}",
    }
    for pattern, text in replaced.items():
        lines, count = re.subn(pattern, lambda _, text=text: text, lines)
        check(count == 1, f"{page} starts a server with {count} times {pattern}")
    return lines


@contextlib.contextmanager
def server(page: str, folder: Path, studies: Path, names: list[str], patterns: list[str], log: Path) -> Iterator[str]:
    """Start the server in a folder that holds ``bundles/``; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["bash", "-ec", session(page, names, studies, patterns, port)]
    env = os.environ | {"PYTHONWARNINGS": "ignore"}
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(180):
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{address}/info/", timeout=60).ok:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        else:
            raise RuntimeError("the server did not answer within 180 s")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def check(condition: object, message: str) -> None:
    """Stop with a message unless the condition holds."""
    if not condition:
        raise RuntimeError(message)


def infer(address: str, served: Served, study: Study, labels: set[int], folder: Path) -> str:
    """Request a segmentation, which must lie on the grid of the image and hold known labels."""
    parameters = {"device": "cpu", "result_extension": ".nii.gz", "result_dtype": "uint8"}
    url = f"{address}/infer/{served.name}?image={study.id}&output=image"
    answer = requests.post(url, files={"params": (None, json.dumps(parameters))}, timeout=1200)
    check(answer.ok, f"/infer answered {answer.status_code}: {answer.text[:2000]}")
    out = folder / "mask.nii.gz"
    out.write_bytes(answer.content)
    mask, image = read(out), read(study.image)
    shape = tuple(image.shape[-3:])
    check(tuple(mask.shape[-3:]) == shape, f"mask {tuple(mask.shape)} on an image {tuple(image.shape)}")
    off = float((mask.affine[:3] - image.affine[:3, [0, 1, 2, -1]]).abs().max())
    check(off < 1e-3, f"the affine of the mask is {off} off")
    values = {int(value) for value in mask.unique()}
    check(values <= labels | {0}, f"values {values}, labels {labels}")
    return f"{'x'.join(map(str, shape))} voxels, values {sorted(values)}"


def digest(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use(address: str, served: Served, folder: Path, say: Any) -> None:
    """Do everything that a viewer does with one bundle."""
    info = requests.get(f"{address}/info/", timeout=60).json()
    check(served.name in info["models"], f"/info/ lists {sorted(info['models'])}")
    check(served.name in info["trainers"], f"/info/ lists trainers {sorted(info['trainers'])}")
    model = info["models"][served.name]
    labels = {int(value) for value in model["labels"].values()}
    check(labels, "/info/ names no label")
    say("/info/", f"version {model['version']}, labels {', '.join(list(model['labels'])[:8])}")
    for what, study in served.infer:
        say("/infer", f"{what}: {infer(address, served, study, labels, folder)}")
    for link, study in zip(served.links, served.train):
        answer = requests.post(f"{address}/activelearning/first", json={}, timeout=60)
        check(answer.ok, f"/activelearning/first answered {answer.status_code}: {answer.text[:2000]}")
        image = answer.json()["id"]
        check(link.name == image + study.pattern[1:], f"{image} is the next sample, not {link.name}")
        with study.label.open("rb") as file:
            url = f"{address}/datastore/label?image={image}&tag=final"
            answer = requests.put(url, files={"label": ("label.nii.gz", file)}, timeout=60)
        check(answer.ok, f"PUT /datastore/label answered {answer.status_code}: {answer.text[:2000]}")
    say("PUT /datastore/label", f"{len(served.train)} labels, in the order of the choice: {served.links[0].name}, ...")
    weights = served.folder / "models/model.pt"
    before, start = digest(weights), time.time()
    request = {"max_epochs": 1, "val_split": 0.34, "device": "cpu", "multi_gpu": False, "pretrained": True}
    answer = requests.post(f"{address}/train/{served.name}?run_sync=true", json=request, timeout=3000)
    check(answer.ok, f"/train answered {answer.status_code}: {answer.text[:2000]}")
    check(digest(weights) != before, "/train left the weights as they were")
    say("/train", f"1 epoch in {time.time() - start:.0f} s, weights {before[:8]} -> {digest(weights)[:8]}")
    what, study = served.infer[0]
    say("/infer", f"{what}, again: {infer(address, served, study, labels, folder)}")


def attempt(page: str, folder: Path, served: Served, work: Callable[..., None]) -> bool:
    """Serve one bundle and work with it; False, and what the server said, if that fails."""

    def say(call: str, found: str) -> None:
        print(f"{served.name:16} {call:21} {found}", flush=True)

    place, log = folder / served.name, folder / "server.log"
    served.folder = place / MODEL / served.name
    patterns = sorted({study.pattern for study in (*(study for _, study in served.infer), *served.train)})
    try:
        with server(page, place, place / "studies", [served.name], patterns, log) as address:
            work(address, served, folder, say)
    except Exception as error:
        shown = [line for line in log.read_text().splitlines() if " INFO " not in line and "nvImage" not in line]
        causes = [line for line in shown if "Error: " in line]
        print(f"{served.name:16} FAILED: {error}", *causes, *shown[-40:], sep="\n", flush=True)
        return False
    return True


def main(page: str, *arguments: str) -> int:
    """Serve the bundles; 1 if one of them fails."""
    full, names, overlays = "--full" in arguments, [a for a in arguments if not a.startswith("--")], list[str]()
    for argument in arguments:
        if argument.startswith("--overlay="):
            overlays.append(argument.removeprefix("--overlay="))
    known = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/metadata.json"))
    names = names or known
    check(set(names) <= set(known), f"there are {known}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = folder / "server.log"
        for name in ("bundles", "all/studies", *(f"{name}/studies" for name in names)):
            (folder / name).mkdir(parents=True)
        for name in ("all", *names):
            (folder / name / "bundles").symlink_to(folder / "bundles")
        bundles = [prepare(name, folder / "bundles", folder / name / "studies", full, overlays) for name in names]
        print(f"MONAI Label {monailabel.__version__}, torch {torch.__version__}, bundles: {', '.join(names)}", end=" ")
        print("" if full else "(sizes of demo.json)", flush=True)
        with server(page, folder / "all", folder / "all/studies", names, ["*.nii.gz"], log) as address:
            info = requests.get(f"{address}/info/", timeout=60).json()
            check(set(names) == set(info["models"]) == set(info["trainers"]), f"/info/ lists {sorted(info['models'])}")
            print(f"one server serves all: {', '.join(sorted(info['models']))}", flush=True)
        tried: list[tuple[Served, Callable[..., None]]] = [(served, use) for served in bundles]
        for name in names:
            tried += [(served, partial(use_weights, bundle=name)) for served in with_weights(name, folder)]
        # Each with studies of its own, since /train takes all labels of a server.
        failed = [served.name for served, work in tried if not attempt(page, folder, served, work)]
        print(f"{len(tried) - len(failed)} passed, {len(failed)} failed", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
