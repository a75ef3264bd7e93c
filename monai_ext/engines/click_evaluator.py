"""Segment each case with none, one, two, ... clicks of a reader, which are simulated on its label."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.inferers import Inferer
from torch import nn
from torch.utils.data import Dataset

from monai_ext.engines.segmentation import SegmentationEvaluator
from monai_ext.errors import ConfigError
from monai_ext.transforms.clicks import RandClicksd

__all__ = ["ClickEvaluator"]


class ClickEvaluator(SegmentationEvaluator):
    """:class:`SegmentationEvaluator` that runs the network over a case after 0 to ``max_clicks`` clicks of each kind.

    The clicks are those that :class:`~monai_ext.transforms.RandClicksd` draws in training. They belong to the case, not
    to the run: each number of clicks has those of the smaller ones. The masks of all numbers are stacked in ``pred``
    ``[max_clicks + 1, X, Y, Z]``.

    Args:
        device: where the network runs.
        dataset: the cases, dicts with ``id``, ``label`` and ``image``, whose last two channels take the clicks.
        network: on its device.
        clicks: draws the clicks, and encodes them.
        max_clicks: largest number of clicks on lesions, and of those on the background.
        inferer: how the network runs over a case.
        postprocessing: from the network's output to the mask ``pred`` ``[1, X, Y, Z]``.
        key_val_metric: :class:`~monai_ext.metrics.ClickScores`, by its name.
        val_handlers: handlers of the run.

    Raises:
        ConfigError: the image has no channels for clicks.
    """

    def __init__(
        self,
        device: torch.device,
        dataset: Dataset,
        network: nn.Module,
        clicks: RandClicksd,
        max_clicks: int = 10,
        inferer: Inferer | None = None,
        postprocessing: Callable[..., Any] | None = None,
        key_val_metric: dict[str, Metric] | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        self.clicks, self.max_clicks = clicks, max_clicks
        super().__init__(device, dataset, network, inferer, postprocessing, key_val_metric, val_handlers)

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        image = batchdata["image"]
        if image.shape[1] < 3:
            raise ConfigError("the image has no channels for clicks; lay variants/clicks.json over the config")
        points = self._points(image[0], batchdata["label"][0, 0], str(batchdata["id"][0]))
        masks = []
        for number in range(self.max_clicks + 1):
            first = {name: places[:number] for name, places in points.items()}
            seen = image.clone()
            seen[0, -2:] = self.clicks.channels(first, np.eye(4), image.shape[2:]).to(image.dtype)
            engine.state.batch = {**batchdata, "image": seen}
            (done,) = super()._iteration(engine, engine.state.batch)
            masks.append(done["pred"])
        engine.state.output = [{**done, "pred": torch.cat(masks)}]
        return engine.state.output

    def _points(self, image: torch.Tensor, label: torch.Tensor, case: str) -> dict[str, Any]:
        """Voxels ``[max_clicks, 3]`` of the clicks on lesions and on the background, the same in every run."""
        self.clicks.set_random_state(seed=zlib.crc32(case.encode()))
        lesion, uptake = label.cpu().numpy() > 0, image[self.clicks.pet].float().cpu().numpy()
        return {
            "tumor": self.clicks.on_lesions(lesion, self.max_clicks),
            "background": self.clicks.outside(lesion, uptake, self.max_clicks),
        }
