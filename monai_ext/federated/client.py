"""The training at a site: MONAI's client algorithm, in the rounds of NVFlare's server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nvflare.client as flare
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType

from monai_ext.networks import save_atomically

__all__ = ["run_site"]


def run_site(settings: dict) -> None:
    """Train in each round from the weights that the server sends, and send the result back.

    The optimizer and its schedule continue from round to round. The site keeps the weights that it sent last as
    ``sent.pt``.

    Args:
        settings: ``bundle_root``, ``config_files`` (below it), ``local_epochs``, ``output_dir``, and the configs'
            ``overrides`` by site.
    """
    flare.init()
    site = flare.get_site_name()
    folder = Path(settings["output_dir"]) / site
    overrides = {
        "bundle_root": settings["bundle_root"],
        "output_dir": str(folder),
        "model": str(folder / "model.pt"),
        "semi_supervised": False,
        **settings["overrides"][site],
    }
    algorithm = MonaiAlgo(
        bundle_root=settings["bundle_root"],
        local_epochs=settings["local_epochs"],
        send_weight_diff=False,
        config_train_filename=settings["config_files"],
        config_evaluate_filename=None,
        train_kwargs=overrides,
    )
    algorithm.initialize({ExtraItems.CLIENT_NAME: site})
    while flare.is_running():
        received = flare.receive()
        algorithm.train(ExchangeObject(weights={k: torch.as_tensor(v) for k, v in received.params.items()}))
        result = algorithm.get_weights()
        steps = int(result.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS])
        save_atomically({"weights": dict(result.weights), "steps": steps}, folder / "sent.pt")
        weights = {name: value.numpy() for name, value in result.weights.items()}
        flare.send(FLModel(params_type=ParamsType.FULL, params=weights, meta={"NUM_STEPS_CURRENT_ROUND": steps}))


if __name__ == "__main__":
    run_site(json.loads(Path(sys.argv[1]).read_text()))
