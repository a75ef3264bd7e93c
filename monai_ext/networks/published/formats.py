"""Files of published weights: what each holds, and where the encoder lies in it.

Read as tensors and plain values only (``weights_only``). The formats, with the source of their names:

- nnssl: ``network_weights`` and ``nnssl_adaptation_plan``, which names the encoder and the stem (MIC-DKFZ/nnssl,
  ``adaptation_planning/adaptation_plan.py``; MIC-DKFZ/nnUNet, its documentation of fine-tuning from nnssl);
- nnunet: ``network_weights`` of a residual encoder U-Net, without a plan;
- spark: AnatoMask and SparK by their authors, the network under ``sparse_encoder.sp_cnn`` (ricklisz/AnatoMask,
  ``ssl_pretrain/``, ``run/load_pretrained_weights.py``);
- stunet: ``conv_blocks_context...`` (uni-medical/STU-Net);
- plain: a state dict under this package's names.

A safetensors file is one of these by its names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks.stunet_checkpoint import convert_official_stunet, read_with_curves
from monai_ext.networks.weights import read_checkpoint

__all__ = ["PublishedWeights", "read_published"]

# The network of dynamic-network-architectures registers a layer twice and the encoder a second time in the decoder.
ALIASES = ((r"^decoder\.encoder\.", "encoder."), (r"\.all_modules\.0\.", ".conv."), (r"\.all_modules\.1\.", ".norm."))


@dataclass
class PublishedWeights:
    """Weights under this package's names.

    Args:
        file: they come from.
        format: nnssl, nnunet, spark, stunet or plain.
        state: tensors by name; the encoder's begin with ``encoder.``.
        architecture: as the file itself names it; empty where it does not.
        plan: nnssl's adaptation plan; empty in the other formats.
    """

    file: Path
    format: str
    state: dict[str, Tensor]
    architecture: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pretraining(self) -> dict[str, Any]:
        """What the plan says of the pretraining: spacing in mm, normalization, patch in voxels."""
        configurations = (self.plan.get("pretrain_plan") or {}).get("configurations") or {}
        plan: dict[str, Any] = next(iter(configurations.values()), {})
        facts = {
            "spacing": plan.get("spacing"),
            "normalization": plan.get("normalization_schemes"),
            "patch": plan.get("patch_size"),
            "recommended patch": self.plan.get("recommended_downstream_patchsize"),
        }
        return {name: value for name, value in facts.items() if value}


def read_published(path: str | Path, stem: str = "") -> PublishedWeights:
    """Read a file of any of the formats.

    Args:
        path: of the file.
        stem: of a MultiTalent checkpoint, which has several; by default the one that its plan names.

    Raises:
        CheckpointError: when the file is missing, damaged, holds pickled objects or no weights.
        ConfigError: when it has no such stem.
    """
    path = Path(path)
    content = read_checkpoint(path) if path.suffix == ".safetensors" else read_with_curves(path)
    state = content
    for key in ("network_weights", "state_dict", "model", "network"):
        if isinstance(state.get(key), Mapping):
            state = dict(state[key])
            break
    tensors = {re.sub(r"^(module\.|_orig_mod\.)+", "", k): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no weights. Give the file of a checkpoint, not of its plans or its logs")
    plan = content.get("nnssl_adaptation_plan") or {}
    if any(".sp_cnn." in name for name in tensors):
        return PublishedWeights(path, "spark", _convert_spark(tensors))
    if any(name.startswith("conv_blocks_context.") for name in tensors):
        return PublishedWeights(path, "stunet", convert_official_stunet(tensors))
    kind = "nnssl" if plan else "nnunet" if "network_weights" in content else "plain"
    tensors = _place_encoder(_without_aliases(tensors), plan, stem, path)
    architecture = (plan.get("architecture_plans") or {}).get("arch_class_name", "")
    return PublishedWeights(path, kind, tensors, architecture, plan)


def _convert_spark(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of the authors' SparK under our names; its decoder and mask tokens under theirs."""
    inside = {name.split(".sp_cnn.")[1]: value for name, value in tensors.items() if ".sp_cnn." in name}
    encoder = {name: value for name, value in inside.items() if name.startswith("conv_blocks_context.")}
    rest = {name: value for name, value in tensors.items() if ".sp_cnn.conv_blocks_context." not in name}
    return convert_official_stunet(encoder) | rest


def _without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each parameter once, under the name of :class:`ResidualEncoderUNet`."""
    found = {}
    for name, value in tensors.items():
        for pattern, replacement in ALIASES:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def _place_encoder(tensors: Mapping[str, Tensor], plan: Mapping[str, Any], stem: str, path: Path) -> dict[str, Tensor]:
    """Bring stem and stages to where :class:`ResidualEncoder` has them."""
    stem = stem or str(plan.get("key_to_stem") or "encoder.stem")
    if stem != "encoder.stem" and not any(name.startswith(f"{stem}.") for name in tensors):
        stems = sorted({m[1] for name in tensors if (m := re.match(r"(encoder\.stem\.[^.]+)\.convs\.", name))})
        raise ConfigError(f"{path}: no stem {stem}; there are {', '.join(stems) or 'none but encoder.stem'}")
    places = {stem: "encoder.stem", str(plan.get("key_to_encoder") or "encoder.stages"): "encoder.stages"}
    found = {}
    for name, value in tensors.items():
        place = next((old for old in places if name.startswith(f"{old}.")), None)
        found[name if place is None else places[place] + name[len(place) :]] = value
    return found
