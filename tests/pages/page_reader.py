"""What the reader of a page has: scans in folders, DICOM exports, data sets with a datalist, weights of a training.

All of it is made of the phantoms, with fewer voxels and more patients.
"""

import json
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from dicom_files import write_dicom_series
from monai.bundle import ConfigParser
from monai.data import ITKWriter

from monai_ext.bundle import config_files
from monai_ext.data import phantom

# Phantom of each bundle, the voxels in mm that its images are thinned to, its images, its masks, and which of ten
# patients have nothing to outline: who learns what is healthy needs such patients in several folds.
SETS = {
    "prostate_mae": ("bpmri", (2, 2, 6), ("t2w", "adc", "hbv"), ("gland",), {5}),
    "adunet_anomaly": ("bpmri", (2, 2, 6), ("t2w", "adc", "hbv"), ("gland", "zones"), {1, 3, 6, 8}),
    "amlp": ("brain_mr", (3, 3, 8), ("t1", "t1ce", "t2", "flair"), (), {5}),
    "anatomask": ("ct_multiorgan", (6, 6, 6), ("image",), (), {5}),
    "autopet_bixlstm": ("petct", (12, 12, 12), ("pet", "ct"), (), {5}),
}
HEAD_AND_NECK = ("hn_petct", (3, 3, 6), ("ct", "pet"), (), {5})
# What a hospital calls the series.
SERIES = {
    "t2w": ("MR", "t2_tse_tra"),
    "adc": ("MR", "ep2d_diff_ADC"),
    "hbv": ("MR", "ep2d_diff_tra b1500"),
    "flair": ("MR", "t2_flair_tra"),
    "pet": ("PT", "PET WB AC"),
    "ct": ("CT", "CT WB"),
    "image": ("CT", "Abdomen"),
}
UNMEANT = ("CT", "Thorax lung B60")  # a second CT, where --series says which one is meant
PATIENTS = 10
UNOUTLINED, OUTLINED = 20, 12  # where a page goes on to outline: of so many these, the validation fold and the test set


@cache
def thinned(name, spacing):
    """Cases of a phantom as images by key."""
    root = Path(phantom(name))
    cases = []
    for item in json.loads((root / "datalist.json").read_text())["training"]:
        images = {key: nib.load(root / path) for key, path in item.items() if str(path).endswith(".nii.gz")}
        steps = {
            key: np.maximum(1, np.round(np.divide(spacing, i.header.get_zooms()[:3]))) for key, i in images.items()
        }
        cases.append({k: i.slicer[tuple(slice(None, None, int(n)) for n in steps[k])] for k, i in images.items()})
    return cases


def case_of(cases, number, healthy):
    """The case of a patient; the folds, of which there are five, do not follow the cases."""
    positive = [case for case in cases if np.any(case["label"].dataobj)]
    negative = [case for case in cases if not np.any(case["label"].dataobj)]
    if negative and number % 10 in healthy:
        return negative[number % len(negative)]
    return positive[number % len(positive)]


def patient(data, number):
    """Images of a patient: a case of the phantom under other noise, for no two patients are alike."""
    cases = thinned(*data[:2])
    noise, found = np.random.default_rng(number), {}
    for key, image in case_of(cases, number, data[4]).items():
        values = np.asarray(image.dataobj)
        if key in data[2]:
            values = values * noise.normal(1, 0.01, values.shape)
        found[key] = nib.Nifti1Image(values.astype(np.float32 if key in data[2] else np.uint8), image.affine)
    return found


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def save_meta(image, path):
    """MetaImage, as PI-CAI is given out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = ITKWriter(output_dtype=np.float32)
    writer.set_data_array(np.asarray(image.dataobj), channel_dim=None)
    writer.set_metadata({"affine": image.affine})
    writer.write(str(path))


def lay_dataset(data, folder, datalist, patients=PATIENTS, outlined=PATIENTS):
    """Patients in folders of their own, in five folds, and one in a test set; ``outlined`` of them have a label.

    Those of another folder are other patients.
    """
    sections = {"training": [], "testing": []}
    for number in range(patients):
        name, images = f"{folder.name}{number:03d}", patient(data, number)
        item = {"id": name, "patient": name}
        last = number == patients - 1
        label = ["label"] if number < outlined or number % 5 == 0 or last else []
        for key in (*data[2], *data[3], *label):
            save(images[key], folder / name / f"{name}_{key}.nii.gz")
            item[key] = f"{name}/{name}_{key}.nii.gz"
        sections["testing" if last else "training"].append(item if last else item | {"fold": number % 5})
    datalist.parent.mkdir(parents=True, exist_ok=True)
    datalist.write_text(json.dumps(sections))


def lay_scans(data, path):
    """New patients without outlines: one file, or files named alike and by their folder, masks of the gland too."""
    if path.name.endswith(".nii.gz"):
        return save(patient(data, 100)[data[2][0]], path)
    named = {"ct": "CT", "pet": "PT"} if data == HEAD_AND_NECK else {}  # HECKTOR's names
    for number in range(100, 102):
        for key in (*data[2], *data[3]):
            save(patient(data, number)[key], path / f"{path.name}{number}_{named.get(key, key)}.nii.gz")
    return None


def lay_export(data, folder, several=False):
    """A patient's series, all files in one folder; with ``several`` a CT more than is needed."""
    images = patient(data, 100)
    series = [(SERIES[key], images[key]) for key in data[2] if key in SERIES]
    series += [(UNMEANT, images["ct" if "ct" in images else "image"])] if several else []
    for number, ((modality, description), image) in enumerate(series):
        write_dicom_series(image, folder, "p1", modality, description, lambda z, n=number: f"I{n}{z:03d}")


def lay_msd(data, folder):
    """The Decathlon's layout: one image for each patient, of all modalities where there are several."""
    cases = []
    for number in range(24 if "flair" in data[2] else 84):  # the hippocampus has 40 to test and 31 folds
        images = patient(data, number)
        volumes = [np.asarray(images[key].dataobj) for key in ("t1", "flair", "t1ce") if key in images]
        image = images.get("image") or nib.Nifti1Image(np.stack(volumes, -1), images["flair"].affine)
        name = f"TCGA_{chr(65 + number // 26)}{chr(65 + number % 26)}_{1000 + number}"
        label = nib.Nifti1Image(np.minimum(np.asarray(images["label"].dataobj), 2), image.affine)
        if "image" in images:  # a crop of an organ
            image, label = (each.slicer[tuple(slice(n // 4, -(n // 4)) for n in each.shape)] for each in (image, label))
        save(image, folder / f"imagesTr/{name}.nii.gz")
        save(label, folder / f"labelsTr/{name}.nii.gz")
        cases.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    labels = {"0": "background", "1": "one", "2": "two"}
    (folder / "dataset.json").write_text(json.dumps({"name": "a task", "labels": labels, "training": cases}))


def lay_public_set(name, data, folder):
    """A public data set in its own layout, which ``monai_ext.datalist`` reads."""
    if name == "msd":
        return lay_msd(data, folder)
    for number in range(PATIENTS):
        images = patient(data, number)
        if name == "picai":
            case, labels = f"{10000 + number}_{1000000 + number}", folder / "picai_labels"
            for key in ("t2w", "adc", "hbv"):
                save_meta(images[key], folder / f"images/{10000 + number}/{case}_{key}.mha")
            save(images["label"], labels / f"csPCa_lesion_delineations/human_expert/resampled/{case}.nii.gz")
            save(images["gland"], labels / f"anatomical_delineations/whole_gland/AI/Bosma22b/{case}.nii.gz")
        elif name == "autopet":
            for key, file in {"pet": "SUV", "ct": "CTres", "label": "SEG"}.items():
                save(images[key], folder / f"FDG/PETCT_{number:02d}/study/{file}.nii.gz")
        elif name == "longitudinal_ct":
            save(images["ct"], folder / f"inputsTr/{number:02d}_BL_img_00.nii.gz")
        elif name == "pairs":
            save(images["image"], folder / f"c{number}_ct.nii.gz")
            save(images["label"], folder / f"c{number}_seg.nii.gz")
        else:
            raise AssertionError(f"the reader has no {name}: add its layout to page_reader.py")
    return None


def lay_weights(root, overlays, path=None):
    """Weights as a training leaves them, which nobody trained, unless there are some: for a page that starts from them.

    They lie at ``path``, or where the configs look for them.
    """
    parser = ConfigParser()
    names = [name if name.endswith(".json") else Path(name).stem for name in overlays]
    parser.read_config(config_files(root, "inference", names))
    parser["bundle_root"] = str(root)
    path = Path(path or parser.get_parsed_content("model"))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(parser.get_parsed_content("network_def").state_dict(), path)
