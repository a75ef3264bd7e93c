"""Slices of the prostate in two domains, healthy and diseased, to train the generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from monai_ext.data.volume_cache import VolumeDataset
from monai_ext.errors import ConfigError, DataError
from monai_ext.transforms.generator_scale import GENERATOR_SCALES
from monai_ext.transforms.study import MODALITIES

__all__ = ["DomainSampler", "DomainSliceDataset"]

Domains = Literal["patients", "slices", "mixed", "healthy", "lesion_free"]
ONE_DOMAIN = ("healthy", "lesion_free")


class DomainSliceDataset(Dataset):
    """Slices that show the gland, of one modality, scaled and masked for a generator.

    An item is ``{"image": float32 [1, X, Y] in (-1, 1), "gland": bool [1, X, Y], "label": uint8 [1, X, Y], "domain": 0
    or 1, "id", "z"}``. Domain 0 is healthy, domain 1 diseased:

    - ``patients``: slices of patients without any lesion against slices with lesion. The default: adU-Net trains "only
      [on] patients without visible abnormalities" (III.A), which contradicts a GAN of two domains.
    - ``slices``: slices without lesion of all patients against slices with lesion, for data without negative patients.
    - ``mixed``: slices of patients without lesion against all slices of all others, with labels or not; lesions need
      not be outlined.
    - ``healthy``: only slices of patients without lesion, as the paper states. This suffices for an autoencoder; a
      translation between domains can only learn the identity from it.
    - ``lesion_free``: only slices without lesion, of all patients, for a restorer; lesions must be outlined.

    Args:
        data: items of a datalist.
        transform: :class:`~monai_ext.transforms.ProstatePreprocessing` without maps.
        cache_dir: folder in which the preprocessed volumes are kept.
        modality: ``t2w``, ``adc`` or ``hbv``.
        domains: which slices form the two domains, see above.
        min_gland_pixels: gland pixels that a slice must have.
        min_lesion_pixels: smallest number of label pixels of a diseased slice; slices with fewer, but at least one, are
            not used.
        slice_transform: augmentation, applied to each item, such as random flips.

    Raises:
        ConfigError: ``domains`` or ``modality`` is unknown.
        DataError: at first use, when a domain has no slice.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import DomainSliceDataset
        >>> def prepare(item):
        ...     label = torch.zeros(1, 16, 16, 4)
        ...     label[..., :4, :4, 2] = item["lesion"]
        ...     gland = torch.ones(1, 16, 16, 4)
        ...     volumes = {"image": torch.rand(3, 16, 16, 4), "gland": gland, "label": label}
        ...     return {"id": item["id"], **{name: MetaTensor(volume) for name, volume in volumes.items()}}
        >>> items = [{"id": "healthy", "lesion": 0}, {"id": "diseased", "lesion": 1}]
        >>> slices = DomainSliceDataset(items, prepare, cache_dir="cache", modality="adc")
        >>> slices[0]["image"].shape, slices[0]["domain"]
        (torch.Size([1, 16, 16]), 0)
        >>> slices.index().tolist()  # case, slice and domain: four healthy slices and the one with lesion
        [[0, 0, 0], [0, 1, 0], [0, 2, 0], [0, 3, 0], [1, 2, 1]]
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        cache_dir: str | Path,
        modality: str,
        domains: Domains = "patients",
        min_gland_pixels: int = 50,
        min_lesion_pixels: int = 5,
        slice_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if domains not in get_args(Domains):
            raise ConfigError(f"domains {domains!r} is none of {', '.join(get_args(Domains))}")
        if modality not in MODALITIES:
            raise ConfigError(f"modality {modality!r} is none of {', '.join(MODALITIES)}")
        self.volumes = VolumeDataset(data, transform, cache_dir)
        self.channel, self.scale = MODALITIES.index(modality), GENERATOR_SCALES[modality]
        self.kind, self.slice_transform = domains, slice_transform
        self.min_gland_pixels, self.min_lesion_pixels = min_gland_pixels, min_lesion_pixels
        self._index: NDArray[np.int64] | None = None

    @property
    def data(self) -> list[Mapping[str, Any]]:
        """The items."""
        return self.volumes.data

    def index(self) -> NDArray[np.int64]:
        """``[S, 3]``: case, z and domain of every slice; prepares the volumes at the first call."""
        if self._index is None:
            rows = [row for case in range(len(self.volumes)) for row in self._slices(case)]
            self._index = np.array(rows, dtype=np.int64).reshape(-1, 3)
            wanted = (0,) if self.kind in ONE_DOMAIN else (0, 1)
            if missing := [d for d in wanted if d not in self._index[:, 2]]:
                what = ("healthy", "diseased")[missing[0]]
                remedy = "Add such patients, or choose other domains: --domains slices (see the documentation)."
                raise DataError(f"none of the {len(self.data)} cases has a {what} slice ({self.kind!r})", remedy)
        return self._index

    def _slices(self, case: int) -> Iterator[tuple[int, int, int]]:
        gland = self.volumes.volume(case, "gland")
        lesion = self.volumes.foreground(case)
        assert gland is not None
        pixels = (np.asarray(gland) > 0).sum((1, 2, 3))
        positive = lesion is None or bool(lesion.any())
        for z in np.flatnonzero(pixels >= self.min_gland_pixels).tolist():
            found = -1 if lesion is None else int(lesion[z])
            if self.kind == "mixed":
                yield case, z, int(positive)
            elif found == 0 and (self.kind in ("slices", "lesion_free") or not positive):
                yield case, z, 0
            elif found >= self.min_lesion_pixels and self.kind not in ONE_DOMAIN:
                yield case, z, 1

    def __len__(self) -> int:
        return len(self.index())

    def __getitem__(self, index: int) -> Any:
        """One slice."""
        case, z, domain = (int(value) for value in self.index()[index])
        image, gland = (torch.from_numpy(np.array(self.volumes.volume(case, k)[z])) for k in ("image", "gland"))  # type: ignore[index]
        image = image.float()
        stored = self.volumes.volume(case, "label")
        label = torch.zeros_like(gland) if stored is None else torch.from_numpy(np.array(stored[z]))
        gland = gland > 0
        image = self.scale(image[self.channel : self.channel + 1], gland)
        item = {"image": image, "gland": gland, "label": label, "domain": domain, "id": self.volumes.case(case), "z": z}
        return item if self.slice_transform is None else self.slice_transform(item)


class DomainSampler(Sampler[int]):
    """Draw slices with replacement, with equal probability of each domain, from torch's global generator.

    The number of iterations per epoch is thus free, and a rare domain counts as much as the other. The numbers of both
    domains in a batch can differ.

    Args:
        dataset: data set to draw from, which knows the domain of each slice.
        num_samples: number of slices of an epoch.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import DomainSampler, DomainSliceDataset
        >>> def prepare(item):
        ...     label = torch.zeros(1, 16, 16, 4)
        ...     label[..., :4, :4, 2] = item["lesion"]
        ...     gland = torch.ones(1, 16, 16, 4)
        ...     volumes = {"image": torch.rand(3, 16, 16, 4), "gland": gland, "label": label}
        ...     return {"id": item["id"], **{name: MetaTensor(volume) for name, volume in volumes.items()}}
        >>> items = [{"id": "healthy", "lesion": 0}, {"id": "diseased", "lesion": 1}]
        >>> slices = DomainSliceDataset(items, prepare, cache_dir="cache", modality="adc")
        >>> drawn = list(DomainSampler(slices, num_samples=1000))
        >>> diseased = sum(slices[i]["domain"] for i in drawn) / len(drawn)
        >>> 0.4 < diseased < 0.6  # although only one of the five slices is
        True
    """

    def __init__(self, dataset: DomainSliceDataset, num_samples: int) -> None:
        self.dataset, self.num_samples = dataset, num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        domain = self.dataset.index()[:, 2]
        members = [torch.from_numpy(np.flatnonzero(domain == d)) for d in np.unique(domain)]
        which = torch.arange(self.num_samples)[torch.randperm(self.num_samples)] % len(members)
        drawn = torch.stack([m[torch.randint(len(m), (self.num_samples,))] for m in members])
        return iter(drawn.gather(0, which[None])[0].tolist())
