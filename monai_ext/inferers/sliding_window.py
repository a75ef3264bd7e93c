"""Windows over a volume, blended with Gaussian weights, for any number of classes in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer
from torch import Tensor

from monai_ext.inferers.body_box import body_box
from monai_ext.networks.precision import autocast

__all__ = ["SlidingWindow", "window_starts"]


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First voxels of windows that cover an axis, evenly spread and at most ``window * (1 - overlap)`` apart.

    Args:
        length: voxels of the axis, at least ``window``.
        window: voxels of a window.
        overlap: share of a window that the next one covers too, at least.
    """
    step = max(1.0, window * (1 - overlap))
    count = math.ceil((length - window) / step) + 1
    return [round(i * (length - window) / max(1, count - 1)) for i in range(count)]


def gaussian_weight(roi_size: Sequence[int]) -> Tensor:
    """A Gaussian in the middle of a window, of an eighth of its size, at most 1 and at least 0.001: ``[*roi_size]``.

    The floor prevents a voxel that lies in the corners of all its windows from vanishing in float16.
    """
    bells = [torch.exp(-(((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) / 2) for n in roi_size]
    weight = torch.einsum("i,j,k->ijk", *bells)
    return (weight / weight.max()).clamp_min(1e-3)


class SlidingWindow(Inferer):
    """Run a network of fixed input size over a volume (nnU-Net's inference, Isensee et al. 2021).

    Windows overlap. The class probabilities of each window, and of its mirrored versions, are weighted by a Gaussian
    centred on it and averaged. A volume smaller than a window is padded. In training mode the network is called on the
    input unchanged, so one inferer serves training on crops, validation and inference.

    By default the result holds all classes. With ``argmax`` it is only the label map, and all classes are kept in
    memory only for a slab as thick as a window: when no further window reaches a plane, its classes are reduced to
    labels and freed. 105 classes on 400x400x400 voxels take 27 GB as a whole, 7.5 GB as a slab of 112 planes, and half
    of that in ``float16``. Windows advance along the longest axis last.

    Args:
        roi_size: voxels of a window along each axis.
        overlap: share of a window that the next one covers too, at least.
        batch_size: windows in one forward pass.
        mirror: spatial axes (0, 1, 2) to mirror along; the network runs ``2**len(mirror)`` times.
        amp: bfloat16 where the hardware has it.
        argmax: True returns class indices, uint8 ``[B, 1, *spatial]``.
        half: True keeps the sums in float16, for many classes.
        pad_value: value outside the volume, the same as in the network's training; None repeats its border.
        buffer_device: device of the sums; None keeps them with the input. "cpu" saves GPU memory.
        body: None runs windows over the whole volume. A number puts them over the patient alone, whom the box of
            :func:`~monai_ext.inferers.body_box.body_box` holds; the number is the box's ``level``. All outside of it is
            background, class 0.

    Raises:
        ValueError: when ``overlap`` does not lie in [0, 1).
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        batch_size: int = 1,
        mirror: Sequence[int] = (),
        amp: bool = True,
        argmax: bool = False,
        half: bool = False,
        pad_value: float | None = 0.0,
        buffer_device: str | None = None,
        body: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
        self.roi_size, self.overlap, self.batch_size = tuple(roi_size), overlap, batch_size
        self.mirror = [axes for n in range(len(mirror) + 1) for axes in combinations(mirror, n)]
        self.amp, self.argmax, self.pad_value = amp, argmax, pad_value
        self.dtype = torch.float16 if half else torch.float32
        self.buffer_device, self.body = buffer_device, body

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Segment a batch.

        Args:
            inputs: ``[B, C, *spatial]``.
            network: ``[b, C, *roi_size]`` -> logits ``[b, K, *roi_size]``.
            *args: further arguments of the network.
            **kwargs: further keyword arguments of the network.

        Returns:
            The logarithm of the mean class probabilities ``[B, K, *spatial]``, of which a softmax gives these
            probabilities back; with ``argmax`` class indices ``[B, 1, *spatial]``. In training mode, the output of the
            network.
        """
        if getattr(network, "training", False):
            with autocast(inputs.device, self.amp):
                return network(inputs, *args, **kwargs)

        def predict(windows: Tensor) -> Tensor:
            return self._probabilities(windows, network, *args, **kwargs)

        with torch.no_grad():
            plain = inputs.as_subclass(Tensor)
            return torch.stack([self._patient(volume, predict) for volume in plain])

    def _probabilities(self, windows: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Mean probabilities ``[b, K, *roi_size]`` over the mirrored windows, fp32."""
        total: Any = None
        for axes in self.mirror:
            dims = [axis + 2 for axis in axes]
            with autocast(windows.device, self.amp):
                logits = network(windows.flip(dims) if dims else windows, *args, **kwargs)
            p = logits.as_subclass(Tensor).float().softmax(1)
            p = p.flip(dims) if dims else p
            total = p if total is None else total.add_(p)
        return total.div_(len(self.mirror))

    def _patient(self, volume: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """One volume ``[C, *spatial]``, of which the windows cover what may hold something."""
        if self.body is None:
            return self._volume(volume, predict)
        box = (slice(None), *body_box(volume, self.body))
        part = self._volume(volume[box], predict)
        result = part.new_zeros(part.shape[0], *volume.shape[1:])
        if not self.argmax:  # log-probabilities: all but the background's are the least that fp32 has
            result[1:] = math.log(torch.finfo(torch.float32).tiny)
        result[box] = part
        return result

    def _volume(self, volume: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """One volume ``[C, *spatial]``."""
        lacking = [max(0, roi - size) for roi, size in zip(self.roi_size, volume.shape[1:])]
        before = [lack // 2 for lack in lacking]
        padding = [n for low, lack in zip(before[::-1], lacking[::-1]) for n in (low, lack - low)]
        if self.pad_value is None:
            padded = F.pad(volume[None], padding, mode="replicate")[0] if any(padding) else volume
        else:
            padded = F.pad(volume, padding, value=self.pad_value)
        shape = tuple(padded.shape[1:])
        # Windows advance along this axis last; all classes are kept only for the thickness of a window.
        axis = max(range(3), key=lambda i: shape[i]) if self.argmax else 0
        order = (axis, *(i for i in range(3) if i != axis))
        back = [0, *(order.index(i) + 1 for i in range(3))]
        planes = list(self._planes(padded.permute(0, *(i + 1 for i in order)), order, predict))
        result = torch.cat(planes, 1).permute(back)
        inside = (slice(b, b + n) for b, n in zip(before, volume.shape[1:]))
        return result[(slice(None), *inside)].contiguous()

    def _planes(self, volume: Tensor, order: tuple[int, ...], predict: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Finished planes of a volume whose axes are in ``order``, in order: ``[K or 1, n, Y, Z]``."""
        roi = [self.roi_size[i] for i in order]
        unorder = [0, 1, *(order.index(i) + 2 for i in range(3))]
        starts, *others = (window_starts(n, r, self.overlap) for n, r in zip(volume.shape[1:], roi))
        device = torch.device(self.buffer_device) if self.buffer_device else volume.device
        sums: Any = None
        norm = torch.zeros(roi[0], *volume.shape[2:], device=device, dtype=self.dtype)
        weight = gaussian_weight(roi).to(device, self.dtype)
        for number, first in enumerate(starts):
            corners = list(product([first], *others))
            for part in (corners[i : i + self.batch_size] for i in range(0, len(corners), self.batch_size)):
                boxes = [tuple(slice(s, s + r) for s, r in zip(corner, roi)) for corner in part]
                windows = torch.stack([volume[(slice(None), *box)] for box in boxes]).permute(unorder).contiguous()
                p = predict(windows).permute(0, 1, *(i + 2 for i in order)).to(device, self.dtype)
                if sums is None:
                    sums = torch.zeros(p.shape[1], *norm.shape, device=device, dtype=self.dtype)
                for one, (_, y, z) in zip(p, boxes):
                    sums[:, :, y, z] += one.mul_(weight)
                    norm[:, y, z] += weight
            last = number == len(starts) - 1
            done = roi[0] if last else starts[number + 1] - first
            yield self._finish(sums[:, :done], norm[:done])
            if not last:  # move the unfinished planes to the front, and make room
                keep = roi[0] - done
                for buffer in (sums.movedim(1, 0), norm):
                    for i in range(keep):
                        buffer[i] = buffer[i + done]
                    buffer[keep:] = 0

    def _finish(self, sums: Tensor, norm: Tensor) -> Tensor:
        """Sums ``[K, n, Y, Z]`` and weights ``[n, Y, Z]`` -> result for these planes."""
        if not self.argmax:
            return (sums.float() / norm.float()).log()
        return torch.stack([plane.argmax(0).to(torch.uint8) for plane in sums.unbind(1)])[None]
