"""The register of published encoders. Each fact stands where ``facts_from`` says; ``unverified`` names the others."""

from __future__ import annotations

import difflib
from dataclasses import replace

from monai_ext.errors import ConfigError
from monai_ext.networks.published.entry import PublishedEncoder

__all__ = ["REGISTER", "find_published"]

STUNET = PublishedEncoder(
    name="stunet",
    architecture="STU-Net",
    method="supervised segmentation, 4000 epochs with mirroring",
    learned_from="TotalSegmentator: 1204 CT volumes, 104 structures",
    licence="Apache-2.0",
    citation="Huang et al., STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by "
    "Large-Scale Supervised Pre-training, arXiv:2304.06716 (2023)",
    facts_from="huggingface.co/ziyanhuang/STU-Net (files, licence); README of uni-medical/STU-Net (crop, epochs)",
    repository="ziyanhuang/STU-Net",
    spacing=(1.5, 1.5, 1.5),
    normalization="nnU-Net's for CT: clipped to percentiles of the set's foreground, then its mean and deviation",
    patch=(128, 128, 128),
    unverified=("spacing", "normalization"),
    note="1.5 mm is the spacing of the data set. The plans beside the weights are pickles and are not opened; they "
    "hold the spacing, the intensities and the strides, none of which stands in the weights.",
)
AUTHORS_SPARK = PublishedEncoder(
    name="spark",
    architecture="STU-Net-B",
    method="SparK: masked reconstruction, random masks, ratio 0.6",
    learned_from="TotalSegmentator: 70 % of 1204 CT volumes",
    licence="none released; the code is MIT",
    citation="Tian et al., Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling, "
    "ICLR 2023",
    facts_from="ricklisz/AnatoMask: README (no weights yet), ssl_pretrain/ (names, sizes); paper, section 4.1 (data)",
    file="STUNet_B_head_latest.pt",
    spacing=(1.5, 1.5, 1.5),
    normalization="z-score of the volume",
    patch=(112, 112, 128),
    note="For weights that a lab has trained with the authors' code.",
)
OPENMIND = PublishedEncoder(
    name="openmind",
    architecture="ResEnc-L",
    method="",
    learned_from="OpenMind: 114,000 volumes of brain MR, 23 modalities, from 800 studies of OpenNeuro",
    licence="CC-BY-4.0",
    citation="Wald et al., An OpenMind for 3D medical vision self-supervised learning, ICCV 2025, arXiv:2412.17041",
    facts_from="cards of ResEncL-OpenMind-MAE, -VF and -SimCLR (licence, data); adaptation_plan.json of -SimCLR "
    "(spacing, normalization); abstract of the paper; download scripts of users (names of -S3D, -SwinUNETR, -VoCo)",
    spacing=(1.0, 1.0, 1.0),
    normalization="z-score of the whole volume, air included",
)
MISSING_PIECE = PublishedEncoder(
    name="missingpiece",
    architecture="ResEnc-L",
    method="",
    learned_from="CT-RATE (chest CT) and the ABCD Study (MR of the brain)",
    licence="CC-BY-4.0",
    citation="The Missing Piece: A Case for Pre-training in 3D Medical Object Detection, MICCAI 2025",
    facts_from="cards of ResEncL-MissingPiece-S3D (data) and -MAE (licence); docs/finetuning.md of nnDetection (files)",
    unverified=("spacing", "normalization", "patch"),
    note="Spacing and normalization stand in the file; verify prints them. CT-RATE itself is CC-BY-NC-SA-4.0.",
)
SSL3D = replace(
    OPENMIND,
    licence="",
    repository="MIC-DKFZ/SSL3D-checkpoints",
    facts_from="card of MIC-DKFZ/SSL3D-checkpoints (files, methods, data)",
    unverified=("licence", "spacing", "normalization", "patch"),
)


def openmind(suffix: str, name: str, method: str, **facts: object) -> PublishedEncoder:
    """One method of the OpenMind benchmark."""
    repository = f"MIC-DKFZ/ResEncL-OpenMind-{suffix}"
    fields = {"name": f"openmind_{name}", "method": method, "repository": repository, **facts}
    return replace(OPENMIND, **fields)  # type: ignore[arg-type]


def missing_piece(suffix: str, name: str, method: str, **facts: object) -> PublishedEncoder:
    """One checkpoint of The Missing Piece."""
    repository = f"MIC-DKFZ/ResEncL-MissingPiece-{suffix}"
    fields = {"name": f"missingpiece_{name}", "method": method, "repository": repository, **facts}
    return replace(MISSING_PIECE, **fields)  # type: ignore[arg-type]


ENTRIES = [
    *(
        replace(STUNET, name=f"stunet_{size}", architecture=f"STU-Net-{size[0].upper()}", file=f"{size}_ep4k.model")
        for size in ("small", "base", "large", "huge")
    ),
    replace(
        AUTHORS_SPARK,
        name="anatomask_stunet_base",
        method="AnatoMask: masked reconstruction, masks by a moving average, ratio 0.6",
        citation="Li et al., AnatoMask: Enhancing Medical Image Segmentation with Reconstruction-guided Self-masking, "
        "ECCV 2024, arXiv:2407.06468",
    ),
    replace(AUTHORS_SPARK, name="spark_stunet_base"),
    openmind(
        "MAE",
        "mae",
        "masked autoencoder",
        patch=(160, 160, 160),
        sha256="7a847af785635335c00e711d16ff4d225d86ecd5992b14c059df2b520e3ee933",
        unverified=("patch", "sha256"),
        note="The hash is that of KawhiQaQ/ISLES26-StrokeFusion, not of the authors.",
    ),
    openmind("S3D", "s3d", "SparK in 3-D (S3D)", patch=(160, 160, 160), unverified=("patch",)),
    openmind(
        "VoCo",
        "voco",
        "volume contrast",
        patch=(192, 192, 64),
        unverified=("patch",),
        note="A user of the file reports an encoder alone, every parameter of which matched the authors' class.",
    ),
    openmind("SimCLR", "simclr", "SimCLR", patch=(192, 192, 64)),
    openmind("MG", "genesis", "Models Genesis", patch=(160, 160, 160), unverified=("repository", "patch")),
    openmind("VF", "volume_fusion", "Volume Fusion", patch=(160, 160, 160), unverified=("patch",)),
    openmind(
        "SwinUNETR",
        "swinunetr",
        "the pretext tasks of SwinUNETR (inpainting, rotation, contrast), on ResEnc-L",
        patch=(160, 160, 160),
        unverified=("method", "patch"),
    ),
    replace(SSL3D, name="ssl3d_mae", method="masked autoencoder", file="ResEnc-L/DKFZ_MAE/DKFZ_MAE_ResEncL.pth"),
    replace(SSL3D, name="ssl3d_voxcon", method="VoxCon", file="ResEnc-L/Datamen/Datamen_ResEncL.pth"),
    replace(
        SSL3D,
        name="ssl3d_voxmsd",
        method="voxel-wise multi-scale self-distillation",
        file="ResEnc-L/HiLab/HiLab_ResEncL.pth",
    ),
    missing_piece("MAE", "mae", "masked autoencoder"),
    missing_piece("S3D", "s3d", "SparK in 3-D (S3D)"),
    missing_piece("MG", "genesis", "Models Genesis"),
    missing_piece("VoCo", "voco", "volume contrast", patch=(192, 192, 64), unverified=("spacing", "normalization")),
    missing_piece(
        "MultiTalent",
        "multitalent",
        "MultiTalent: supervised segmentation of many data sets at once",
        learned_from="65 public segmentation data sets of mixed modalities (nnDetection's documents say about 87)",
        note="It has several stems; the file's plan names the one for CT. Another one by stem=, for example "
        "encoder.stem.004; its training log says which is whose.",
        unverified=("licence", "learned_from", "spacing", "normalization", "patch"),
    ),
    PublishedEncoder(
        name="nnfoundation_cnn",
        architecture="ResEnc-L",
        method="masked autoencoder, ratio 0.75, blocks of 16 voxels",
        learned_from="2.1 million volumes of CT, MR and PET from 125 data sets",
        licence="CC-BY-SA-4.0",
        citation="nnFoundation: 3D Foundation Models for Radiology, arXiv:2609.26924 (2026)",
        facts_from="huggingface.co/MIC-DKFZ/nnFoundationCNN (files, licence); notes of two users of the file, who "
        "agree on normalization and patch",
        repository="MIC-DKFZ/nnFoundationCNN",
        normalization="z-score of the whole volume, air included",
        patch=(192, 192, 192),
        unverified=("learned_from", "spacing"),
        note="Scans were not resampled, so it asks for no spacing. Share-alike: what derives from it keeps this.",
    ),
]

#: Every entry by its name.
REGISTER = {entry.name: entry for entry in ENTRIES}


def find_published(name: str) -> PublishedEncoder:
    """The entry of a name.

    Raises:
        ConfigError: when there is none; the nearest name is given.
    """
    if name not in REGISTER:
        near = difflib.get_close_matches(name, REGISTER, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(REGISTER)}"
        raise ConfigError(f"no published encoder {name!r}; {hint}")
    return REGISTER[name]
