"""How unsure a trained segmenter is of a scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_ext.data.entries import Item
from monai_ext.data.io.image_files import file_print
from monai_ext.errors import CheckpointError
from monai_ext.networks import load_weights
from monai_ext.select.statistics import Described
from monai_ext.transforms.tissue import tissue_mask

__all__ = ["Uncertainty"]


class Uncertainty:
    """Mean entropy of a segmenter's class probabilities over the tissue of an item.

    The probabilities are the mean over the windows that hold a voxel and over the image and its mirror image, so that
    their disagreement counts too. Mirrored is the first of the config's ``flips``.

    Args:
        parser: of the training's config.
        weights: of the trained network.

    Raises:
        CheckpointError: the weights are not there, or do not fit.
    """

    def __init__(self, parser: ConfigParser, weights: str) -> None:
        self.network = parser.get_parsed_content("network")
        load_weights(self.network, weights)
        self.network.eval()
        self.weights = weights
        flips = list(parser.get_parsed_content("flips"))[:1] if "flips" in parser else [0]
        parser["inferer"]["mirror"] = flips
        parser["inferer"].pop("argmax", None)  # all classes, not the label map
        parser.parse()
        self.inferer = parser.get_parsed_content("inferer")
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.device = torch.device(parser.get_parsed_content("device"))
        self.settings = f"{flips} {parser.get('network_def')} {parser.get('inferer')}"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the number beside the files."""
        return {"uncertainty": [file_print(self.weights), self.preprocessing.fingerprint, self.settings]}

    @torch.no_grad()
    def __call__(self, item: Item) -> Described:
        """``uncertainty`` ``[1]`` in nats.

        Raises:
            DataError: the item cannot be used.
            CheckpointError: the network gives no number.
        """
        prepared = self.preprocessing({key: value for key, value in item.items() if key != "label"})
        image = prepared["image"].as_tensor().float()
        scores = self.inferer(image[None].to(self.device), self.network)[0].float().cpu()
        p = scores.log_softmax(0)
        entropy = -(p.exp() * p).sum(0)[tissue_mask(image[0])].mean()
        if not torch.isfinite(entropy):
            raise CheckpointError(f"{self.weights}: the network's scores of case {item.get('id')} are no numbers")
        return {"uncertainty": np.array([float(entropy)], dtype=np.float32)}
