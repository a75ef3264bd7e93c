"""The structures of TotalSegmentator in the order of their official numbers (Wasserthal et al. 2023)."""

from __future__ import annotations

__all__ = ["CLASSES_V1", "CLASSES_V2"]

_RIBS = [f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)]
_VERTEBRAE = [
    f"vertebrae_{region}{n}" for region, count in (("L", 5), ("T", 12), ("C", 7)) for n in range(count, 0, -1)
]
_LOBES = ["upper_lobe_left", "lower_lobe_left", "upper_lobe_right", "middle_lobe_right", "lower_lobe_right"]
_LUNG = [f"lung_{lobe}" for lobe in _LOBES]


def _pairs(*names: str) -> list[str]:
    return [f"{name}_{side}" for name in names for side in ("left", "right")]


_FIRST = ["spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach"]
_ADRENAL = ["adrenal_gland_right", "adrenal_gland_left"]
_ILIAC = _pairs("iliac_artery", "iliac_vena")
_BONES = _pairs("humerus", "scapula", "clavicula", "femur", "hip")
_MUSCLES = _pairs("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas")

CLASSES_V1 = [
    *_FIRST,
    *("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "pancreas"),
    *_ADRENAL,
    *_LUNG,
    *_VERTEBRAE,
    *("esophagus", "trachea", "heart_myocardium", "heart_atrium_left", "heart_ventricle_left"),
    *("heart_atrium_right", "heart_ventricle_right", "pulmonary_artery", "brain"),
    *_ILIAC,
    *("small_bowel", "duodenum", "colon"),
    *_RIBS,
    *_BONES,
    *("sacrum", "face"),
    *_MUSCLES,
    "urinary_bladder",
]

CLASSES_V2 = [
    *_FIRST,
    "pancreas",
    *_ADRENAL,
    *_LUNG,
    *("esophagus", "trachea", "thyroid_gland", "small_bowel", "duodenum", "colon", "urinary_bladder", "prostate"),
    *("kidney_cyst_left", "kidney_cyst_right", "sacrum", "vertebrae_S1"),
    *_VERTEBRAE,
    *("heart", "aorta", "pulmonary_vein", "brachiocephalic_trunk", "subclavian_artery_right"),
    *("subclavian_artery_left", "common_carotid_artery_right", "common_carotid_artery_left"),
    *("brachiocephalic_vein_left", "brachiocephalic_vein_right", "atrial_appendage_left", "superior_vena_cava"),
    *("inferior_vena_cava", "portal_vein_and_splenic_vein"),
    *_ILIAC,
    *_BONES,
    "spinal_cord",
    *_MUSCLES,
    *("brain", "skull"),
    *_RIBS,
    *("sternum", "costal_cartilages"),
]
