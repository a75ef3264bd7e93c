"""Anomaly maps of a study by trained generators, on the grid of T2W."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_ext.data.io.image_files import content_hash
from monai_ext.errors import DataError
from monai_ext.networks import load_weights
from monai_ext.transforms.anomaly_map import BOX8_SIGMA, anomaly_map
from monai_ext.transforms.generator_scale import GENERATOR_SCALES
from monai_ext.transforms.prostate_crop import crop_affine
from monai_ext.transforms.resample import onto_grid

__all__ = ["AnomalyMapper", "Views"]


@dataclass(frozen=True)
class Views:
    """A study on the generators' grid: affine ``[4, 4]``, bool gland, and per modality ``[1, X, Y, Z]`` volumes.

    ``images`` are normalized and clipped to the range of the generator; ``reconstructions`` and ``maps`` have the same
    units.
    """

    affine: Tensor
    gland: Tensor
    images: dict[str, Tensor]
    reconstructions: dict[str, Tensor]
    maps: dict[str, Tensor]


class AnomalyMapper:
    """x -> a = blur(|x - G(x)|) of each modality (adU-Net, II): crop, mask, reconstruct, subtract, blur, put back.

    The generators are read at the first call, so a pipeline whose items all have maps does not need them.
    ``<weights>/<modality>.json`` lists the patients on whom the generator was trained. A labelled case of such a
    patient is refused, because its map would let the segmenter learn a shortcut that is absent for new patients;
    without a label it is a warning.

    Args:
        network: a :class:`~monai_ext.networks.nets.Reconstructor`, of which each modality gets a copy.
        weights: folder of the generators' weights.
        modalities: modalities of the maps.
        spacing: mm per voxel of the grid that the generators see.
        size: voxels of that grid along each axis.
        sigma: standard deviation of the blur in mm, see :func:`anomaly_map`; as in the paper, in the plane of the
            slices.
        signed: True keeps the sign of x - G(x).
        batch_size: number of slices that are reconstructed at once.
        device: device of the generators.
        control: True makes leaking maps nevertheless, with a warning, for the control experiment.

    Raises:
        DataError: at the first call, when a generator is missing or a map would leak.
        CheckpointError: when its weights do not fit.
    """

    def __init__(
        self,
        network: nn.Module,
        weights: str | Path,
        modalities: Sequence[str] = tuple(GENERATOR_SCALES),
        spacing: Sequence[float] = (0.75, 0.75, 3.0),
        size: Sequence[int] = (128, 128, 32),
        sigma: float | Sequence[float] = (BOX8_SIGMA, BOX8_SIGMA, 0.0),
        signed: bool = False,
        batch_size: int = 16,
        device: str | torch.device = "cpu",
        control: bool = False,
    ) -> None:
        if unknown := [m for m in modalities if m not in GENERATOR_SCALES]:
            raise ValueError(f"modalities {unknown} are none of {list(GENERATOR_SCALES)}")
        self.network, self.weights, self.modalities = network, Path(weights), tuple(modalities)
        self.spacing, self.size, self.sigma, self.signed = tuple(spacing), tuple(size), sigma, signed
        self.batch_size, self.device, self.control = batch_size, torch.device(device), control
        self._generators: dict[str, nn.Module] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that decide a map besides the weights."""
        names = ("spacing", "size", "sigma", "signed")
        return {"network": type(self.network).__name__} | {name: getattr(self, name) for name in names}

    @property
    def fingerprint(self) -> str:
        """Changes when the weights or the settings do."""
        files = [self.weights / f"{modality}.pt" for modality in self.modalities]
        content = [content_hash(f) if f.is_file() else "none" for f in files]
        return hashlib.sha256(repr((content, self.modalities, self.settings, self.control)).encode()).hexdigest()[:16]

    def generator(self, modality: str) -> nn.Module:
        """The generator of a modality, with its weights."""
        if modality not in self._generators:
            path = self.weights / f"{modality}.pt"
            self.record(modality)
            network = copy.deepcopy(self.network)
            load_weights(network, path)
            self._generators[modality] = network.to(self.device).eval()
        return self._generators[modality]

    def record(self, modality: str) -> dict[str, Any]:
        """Record beside the weights of a generator: ``training_patients``, ``generator``, ``settings``."""
        path = self.weights / f"{modality}.json"
        if not path.with_suffix(".pt").is_file():
            remedy = "Run the anomaly-map phase (run mapping), which trains what is missing, or name anomaly maps."
            raise DataError(f"there is no generator of {modality}", remedy, file=path.with_suffix(".pt"))
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found["training_patients"], list) or not isinstance(found["generator"], str):
                raise ValueError("it holds no list of patients")
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Train the generator with the reconstruction phase."
            cause = f"what the generator of {modality} learned from is not known: {error!r}"
            raise DataError(cause, remedy, file=path) from error
        return found

    def learned_from(self, modality: str) -> list[str]:
        """Patients on whom the generator of a modality was trained."""
        return list(map(str, self.record(modality)["training_patients"]))

    def head_auroc(self, modality: str) -> float | None:
        """Held-out AUROC of the domain head that taught a generator; None of one without such a head."""
        head = self.record(modality).get("settings", {}).get("domain_head") or {}
        return head.get("held_out_auroc")

    def refuse_leak(self, modality: str, patient: str, labelled: bool, case: object = None) -> None:
        """Refuse the map of a patient on whom the generator was trained, see the class."""
        if patient in self.learned_from(modality):
            cause = f"the {modality} map would leak: its generator was trained on this patient"
            if labelled and not self.control:
                raise DataError(cause, "Use cross-fitted maps, or leave the patient out.", case)
            warnings.warn(f"case {case}: {cause}", stacklevel=2)

    def of(self, weights: str | Path) -> AnomalyMapper:
        """A copy of this mapper with the generators of another folder."""
        other = copy.copy(self)
        other.weights, other._generators = Path(weights), {}
        return other

    @torch.no_grad()
    def reconstruct(self, image: Tensor, gland: Tensor, modality: str) -> Tensor:
        """Pseudo-healthy volume in normalized units.

        Args:
            image: normalized ``[1, X, Y, Z]`` on the generators' grid.
            gland: bool, same shape.
            modality: modality of the image.

        Returns:
            ``[1, X, Y, Z]``: the reconstruction inside the gland, the image outside.
        """
        scale, network = GENERATOR_SCALES[modality], self.generator(modality)
        slices = gland[0].any(0).any(0).nonzero().flatten()
        seen = scale(image, gland)[0].movedim(-1, 0)[slices, None]
        parts: list[Tensor] = []
        for part in seen.split(self.batch_size):
            parts.append(network.reconstruct(part.to(self.device)).float().cpu())  # type: ignore[operator]
        made = torch.cat(parts)[:, 0].movedim(0, -1) * scale.width + scale.center
        result = image.clone()
        result[0, :, :, slices] = torch.where(gland[0, :, :, slices], made, image[0, :, :, slices])
        return result

    @torch.no_grad()
    def invert(self, image: Tensor, gland: Tensor, modality: str, slices: Sequence[int]) -> Tensor | None:
        """Encode and decode slices without guidance, if the model can (diffusion), else return None.

        Args:
            image: normalized ``[1, X, Y, Z]`` on the generators' grid.
            gland: bool, same shape.
            modality: modality of the image.
            slices: indices of the S slices.

        Returns:
            ``[1, X, Y, S]`` in normalized units.
        """
        network, scale = self.generator(modality), GENERATOR_SCALES[modality]
        if not hasattr(network, "decode"):
            return None
        seen = scale(image, gland)[0].movedim(-1, 0)[list(slices), None].to(self.device)
        made = network.decode(network.encode(seen), guidance=0.0).float().cpu()  # type: ignore[operator]
        return (made[:, 0] * scale.width + scale.center).movedim(0, -1)[None]

    def look(self, study: Mapping[Any, Any], patient: str, labelled: bool = False) -> Views:
        """Images, reconstructions and maps of a study on the generators' grid. Arguments as in :meth:`__call__`."""
        case, gland = study.get("id"), study["gland"]
        affine = crop_affine(gland, self.spacing, self.size, case)
        box = onto_grid((gland != 0).float(), affine, self.size, "nearest").as_tensor() > 0.5
        views = Views(affine, box, {}, {}, {})
        for modality in self.modalities:
            self.refuse_leak(modality, patient, labelled, case)
            image = onto_grid(study[modality], affine, self.size).as_tensor()
            # The generator never saw clipped intensities, which must not count as a difference.
            low, high = GENERATOR_SCALES[modality].range
            views.images[modality] = image.clamp(low, high)
            views.reconstructions[modality] = self.reconstruct(views.images[modality], box, modality)
            views.maps[modality] = anomaly_map(
                views.images[modality],
                views.reconstructions[modality],
                box,
                self.spacing,
                self.sigma,
                self.signed,
            )
        return views

    def place(self, views: Views, gland: MetaTensor) -> dict[str, MetaTensor]:
        """Resample the maps of :meth:`look` onto the grid of the gland mask ``[1, X, Y, Z]``, 0 outside the gland."""
        size = gland.shape[1:]
        weight = onto_grid(MetaTensor(views.gland.float(), affine=views.affine), gland.affine, size).as_tensor()
        inside = (gland.as_tensor() != 0) & (weight > 1e-3)
        maps = {}
        for modality, found in views.maps.items():
            # Interpolation mixes zeros from outside into the border; dividing by the weight removes them.
            values = onto_grid(MetaTensor(found, affine=views.affine), gland.affine, size).as_tensor()
            maps[modality] = MetaTensor(torch.where(inside, values / weight.clamp(min=1e-3), 0.0), affine=gland.affine)
        return maps

    def __call__(self, study: Mapping[Any, Any], patient: str, labelled: bool = False) -> dict[str, MetaTensor]:
        """Maps of a study.

        Args:
            study: normalized ``t2w``, ``adc``, ``hbv`` and ``gland``, MetaTensors ``[1, X, Y, Z]`` on one grid.
            patient: patient of the study.
            labelled: True when the case has a label.

        Returns:
            ``[1, X, Y, Z]`` fp32 per modality on the grid of the study, in normalized units, 0 outside the gland.
        """
        return self.place(self.look(study, patient, labelled), study["gland"])
