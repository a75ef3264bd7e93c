"""The anomaly maps among the channels of a network's input, on the scan's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Transform

from monai_ext.transforms.grid import RestoreToReferenced
from monai_ext.transforms.prostate import map_key

__all__ = ["AnomalyChannelsd"]


class AnomalyChannelsd(Transform):
    """Add ``adc_map``, ... fp32 ``[1, X, Y, Z]`` to a decollated item: what the network was shown, in normalized units.

    Args:
        modalities: modalities whose maps are the last channels of ``image``, in their order; none adds nothing.
        map_scale: factor by which :class:`ProstatePreprocessing` multiplied them.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.transforms import AnomalyChannelsd
        >>> image = MetaTensor(torch.ones(4, 8, 8, 4))
        >>> item = {"image": image, "original_affine": torch.eye(4).double(), "original_shape": torch.tensor([8, 8, 4])}
        >>> AnomalyChannelsd(["adc"], map_scale=2.0)(item)["adc_map"].unique()
        metatensor([0.5000])
    """

    def __init__(self, modalities: Sequence[str] = (), map_scale: float = 1.0) -> None:
        self.modalities, self.map_scale = tuple(modalities), map_scale
        self._restore = RestoreToReferenced([map_key(m) for m in modalities]) if modalities else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps of one item."""
        item = dict(data)
        if self._restore is None or not self.map_scale:
            return item
        channels = item["image"][-len(self.modalities) :].float() / self.map_scale
        for number, modality in enumerate(self.modalities):
            values = channels.as_tensor() if isinstance(channels, MetaTensor) else channels
            item[map_key(modality)] = values[number : number + 1]
        return self._restore(item)
