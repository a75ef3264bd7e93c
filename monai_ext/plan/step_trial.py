"""Some training steps of a config on random images, timed: ``python -m monai_ext.plan.step_trial`` with a job as JSON.

A process of its own: its peak of memory is then that of a run, imports and all.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

import monai_ext.engines  # noqa: F401  (what a run has in memory too)
from monai_ext.processes import peak_memory
from monai_ext.transforms import BatchAugmentation

__all__ = ["run_trial", "stopwatch"]

REPEATS = 12  # augmentations of a batch that are timed
LONG = 5.0  # seconds of a step beside which the start of the first one does not count


def run_trial(job: Mapping[str, Any]) -> dict[str, float]:
    """Train the network of a config for some steps.

    Args:
        job: ``files``, ``overrides``, ``shape`` ([C, *spatial]), ``batch_size`` and ``steps``, see
            :func:`~monai_ext.plan.device_facts.time_step`.

    Returns:
        ``seconds``, the quickest step but for the first (others wait for what else runs), with the augmentation of its
        batch, by :func:`stopwatch`, and ``gibibytes``, the peak of this process or its GPU.
    """
    parser = ConfigParser()
    parser.read_config(list(job["files"]))
    parser["bundle_root"] = str(Path(job["files"][0]).resolve().parents[1])
    parser["pretrained"] = None
    for key, value in job["overrides"].items():
        parser[key] = value
    network, loss, inferer = (parser.get_parsed_content(key) for key in ("network", "loss", "inferer"))
    device = torch.device(parser.get_parsed_content("device"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    size = (job["batch_size"], *job["shape"])
    classes = _classes(network, size, device)
    network.train()
    times, clock = [], stopwatch(device)
    for _ in range(job["steps"] + 1):
        image = torch.randn(size, device=device)
        label = torch.randint(classes, (size[0], 1, *size[2:]), device=device)
        began = clock()
        optimizer.zero_grad()
        loss(inferer(image, network), label).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - began)
        if times[-1] > LONG:
            break
    augmenting = _augmentation_seconds(parser, size, device)
    return {"seconds": min(times[1:] or times) + augmenting, "gibibytes": peak_memory(device)}


def stopwatch(device: torch.device) -> Callable[[], float]:
    """Clock in seconds: of the processor where one thread does all, so other programs do not count; else real time.

    Several threads wait for each other, and a processor for its GPU: then real time is what a step takes.
    """
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.monotonic


def _augmentation_seconds(parser: ConfigParser, size: tuple[int, ...], device: torch.device) -> float:
    """Mean seconds to augment a batch, by the trainer at once and by the data set item by item; draws differ."""
    place = "train#trainer#augmentation"
    whole = parser.get_parsed_content(place) if place in parser else None
    dataset = parser.get("train#dataset", {})
    key = next((key for key in ("crop_transform", "slice_transform") if dataset.get(key)), None)
    single: Any = None if key is None else parser.get_parsed_content(f"train#dataset#{key}")
    generator, image = torch.Generator(device), torch.randn(size, device=device)
    label = torch.zeros(size[0], 1, *size[2:], dtype=torch.uint8, device=device)
    spent, clock = 0.0, stopwatch(device)
    for seed in range(REPEATS + 1):
        if hasattr(single, "set_random_state"):
            single.set_random_state(seed=seed)
        began = clock()
        if isinstance(whole, BatchAugmentation):
            whole(image, label, (seed,), generator)
        if single is not None:
            for item in range(size[0]):
                single({"image": image[item].cpu(), "label": label[item].cpu()})
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent += (clock() - began) * (seed > 0)  # the first one imports
    return spent / REPEATS


def _classes(network: torch.nn.Module, size: tuple[int, ...], device: torch.device) -> int:
    """Channels of a network's output."""
    with torch.no_grad():
        output = network.eval()(torch.zeros((1, *size[1:]), device=device))
    return int((output[0] if isinstance(output, list | tuple) else output).shape[1])


if __name__ == "__main__":
    print(json.dumps(run_trial(json.load(sys.stdin))))
