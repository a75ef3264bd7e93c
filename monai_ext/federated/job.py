"""Federated training of a bundle on one machine, as NVFlare's simulator runs it, and the job for a real federation."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import ensure_tuple, optional_import

from monai_ext.bundle import find_root
from monai_ext.data.entries import patient_of, read_datalist
from monai_ext.errors import ConfigError, DataError, TrainingError
from monai_ext.networks import read_checkpoint, save_atomically

__all__ = ["federate", "split_by_site"]

nvflare, has_nvflare = optional_import("nvflare")


def split_by_site(items: Sequence[dict[str, Any]], num_sites: int) -> list[list[dict[str, Any]]]:
    """Deal patients to sites one by one, all items of a patient to one site.

    Raises:
        DataError: there are fewer patients than sites.
    """
    patients = list(dict.fromkeys(patient_of(item) for item in items))
    if len(patients) < num_sites:
        raise DataError(f"{len(patients)} patients cannot be dealt to {num_sites} sites", "Ask for fewer --sites.")
    return [[item for item in items if patients.index(patient_of(item)) % num_sites == s] for s in range(num_sites)]


def _config_file(overlay: str) -> str:
    """A config's path, absolute or below the bundle."""
    return str(Path(overlay).resolve()) if overlay.endswith(".json") else f"configs/{overlay}.json"


def _site_datalists(config: ConfigParser, num_sites: int, folder: Path) -> list[str]:
    """One datalist per site: its own training patients, and the validation fold, which all sites share."""
    sections = read_datalist(config.get_parsed_content("datalist"))
    fold = config.get_parsed_content("val_fold")
    held_out = [item for item in sections["training"] if item.get("fold") == fold]
    training = [item for item in sections["training"] if item.get("fold") != fold]
    files = []
    for number, own in enumerate(split_by_site(training, num_sites), 1):
        path = folder / f"site-{number}.json"
        path.write_text(json.dumps(sections | {"training": own + held_out}, indent=1))
        files.append(str(path))
    return files


def federate(
    bundle: str,
    rounds: int = 2,
    sites: int = 2,
    datalists: str | Sequence[str] | None = None,
    dataset_dirs: str | Sequence[str] | None = None,
    local_epochs: int = 1,
    overlays: str | Sequence[str] = (),
    initial: str | None = None,
    out: str | None = None,
    export: bool = False,
) -> str:
    """Train one bundle at several sites that share weights and no images (federated averaging).

    Without ``datalists`` the training patients of the bundle's own datalist are dealt to the sites, to try it out. The
    sites start from ``initial``, which may hold pretrained weights, and train with the settings of ``train.json``.

    Args:
        bundle: name of the bundle.
        rounds: number of rounds, each of which averages the weights once.
        sites: number of sites.
        datalists: one per site, for example ``"[a.json,b.json]"``.
        dataset_dirs: data folders, one per site.
        local_epochs: number of epochs at a site between two averages.
        overlays: configs merged into train.json: files, or names of the bundle's own configs, for example ``demo``.
        initial: path of the state dict to start from; None starts from the network's own initial weights.
        out: folder of the result; ``output/federated`` in the bundle if None.
        export: True writes NVFlare's job to ``<out>/job`` for a real federation instead of simulating it.

    Returns:
        Path of the averaged weights, or of the job.

    Raises:
        ConfigError: NVFlare is not installed, or the numbers of sites and datalists differ.
        TrainingError: a round did not finish.
    """
    if not has_nvflare:
        raise ConfigError("federated training needs NVFlare: pip install 'monai-ext[federated]'")
    from nvflare.job_config.api import FedJob  # late: an optional package
    from nvflare.job_config.script_runner import FrameworkType, ScriptRunner  # late: an optional package

    from monai_ext.federated import client  # late: needs nvflare
    from monai_ext.federated.server import WeightsFedAvg  # late: needs nvflare

    root = find_root(bundle)
    names = ["configs/train.json", *(_config_file(str(overlay)) for overlay in ensure_tuple(overlays))]
    folder = Path(out or f"{root}/output/federated").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config = ConfigParser()
    config.read_config([os.path.join(root, name) for name in names])
    config["bundle_root"] = root
    lists = list(ensure_tuple(datalists)) if datalists else _site_datalists(config, sites, folder)
    dirs = list(ensure_tuple(dataset_dirs)) if dataset_dirs else [config.get_parsed_content("dataset_dir")] * len(lists)
    if not len(lists) == len(dirs) == sites:
        raise ConfigError(f"{sites} sites, {len(lists)} datalists and {len(dirs)} dataset_dirs: give one each per site")
    start, final = folder / "initial.pt", folder / "model.pt"
    if initial is None:
        torch.manual_seed(0)
        save_atomically(config.get_parsed_content("network_def").state_dict(), start)
    else:
        weights = read_checkpoint(initial)
        save_atomically(weights.get("model", weights), start)
    common = {"pretrained": None, "max_epochs": rounds * local_epochs} if "pretrained" in config else {}
    common.setdefault("max_epochs", rounds * local_epochs)
    site_names = [f"site-{number}" for number in range(1, sites + 1)]
    settings = {
        "bundle_root": root,
        "config_files": names,
        "local_epochs": local_epochs,
        "output_dir": str(folder),
        "overrides": {
            name: common | {"datalist": str(Path(file).resolve()), "dataset_dir": str(where)}
            for name, file, where in zip(site_names, lists, dirs)
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1))
    job = FedJob(name=bundle, min_clients=sites)
    job.to_server(WeightsFedAvg(sites, rounds, str(start), str(final)))
    for name in site_names:
        runner = ScriptRunner(
            script=client.__file__, script_args=str(folder / "settings.json"), framework=FrameworkType.NUMPY
        )
        job.to(runner, name)
    if export:
        job.export_job(str(folder / "job"))
        return str(folder / "job")
    final.unlink(missing_ok=True)
    job.simulator_run(str(folder / "nvflare"), threads=sites)
    if not final.is_file():
        raise TrainingError(f"no round was finished; see the logs in {folder / 'nvflare'}")
    return str(final)
