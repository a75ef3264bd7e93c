"""What an evaluation judges is what ``predict`` writes, by the same settings, against the label as it was drawn."""

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from running import ROOT
from scipy import ndimage

MASKS = ("threshold", "min_confidence", "min_ml", "largest")


def parser(name, file, **settings):
    """A config under the demo's overlay, without generators or a trained gland network."""
    found = ConfigParser()
    found.read_config([str(ROOT / f"bundles/{name}/configs/{config}.json") for config in (file, "demo")])
    settings |= {"map_modalities": []} if "map_modalities" in found.config else {}
    for key, value in {"bundle_root": str(ROOT / "bundles" / name), **settings}.items():
        found[key] = value
    return found


def settings_of(config):
    """The settings of masks that a bundle has, at values that change the masks."""
    chosen = {"threshold": 0.35, "min_confidence": 0.35, "min_ml": 0.4, "largest": True}
    return {key: chosen[key] for key in MASKS if key in config}


def scores(image, name, classes):
    """A smooth network's output on the grid of an image ``[C, X, Y, Z]``, with several components."""
    rng = np.random.default_rng(0)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=image.shape[1:]), 2) for _ in range(classes)])
    logits = torch.from_numpy((6 * noise / noise.std()).astype(np.float32))
    logits[0] += 6
    return logits.argmax(0, keepdim=True) if name == "anatomask" else logits


def test_both_have_the_same_settings_of_masks(configs):
    evaluated, written = (
        {key: configs[file][key] for key in MASKS if key in configs[file]}
        for file in ("evaluate.json", "inference.json")
    )
    assert {"min_ml", "largest"} < evaluated.keys() or evaluated.keys() == {"min_ml", "largest"}
    assert evaluated == written
    assert configs["evaluate.json"]["masks"] == {key: f"@{key}" for key in evaluated}  # the report tells them


@pytest.mark.parametrize("chosen", [False, True])
def test_the_judged_mask_is_the_written_one(name, configs, tmp_path, chosen):
    settings = settings_of(configs["evaluate.json"]) if chosen else {}
    judge = parser(name, "evaluate", **settings)
    writer = parser(name, "inference", **settings, output_dir=str(tmp_path))
    cases = judge.get_parsed_content("items" if name == "adunet_anomaly" else "dataset#data")
    item = judge.get_parsed_content("preprocessing")(cases[0])
    classes = len(judge.get_parsed_content("organs")) + 1 if name == "anatomask" else 2
    item["pred"] = MetaTensor(scores(item["image"], name, classes), affine=item["image"].affine)
    judged = judge.get_parsed_content("postprocessing")(dict(item))
    writer.get_parsed_content("postprocessing")(dict(item))
    file = nibabel.load(next(tmp_path.glob("*/*_seg.nii.gz")))

    def on_file(mask):
        """Values at the places of the file's voxels, whichever way the axes of the mask run."""
        image = nibabel.Nifti1Image(mask[0].cpu().numpy().astype(np.uint8), mask.affine.cpu().numpy())
        way = nibabel.orientations.io_orientation(np.linalg.solve(file.affine, image.affine))
        return nibabel.orientations.apply_orientation(np.asarray(image.dataobj), way)

    written = np.asarray(file.dataobj)
    assert written.any()
    np.testing.assert_array_equal(on_file(judged["pred"]), written)
    label = nibabel.load(cases[0]["label"])
    np.testing.assert_allclose(label.affine, file.affine, atol=1e-4)
    drawn = np.asarray(label.dataobj)
    np.testing.assert_array_equal(on_file(judged["label"]), drawn if name == "anatomask" else drawn > 0)
    if chosen:  # the settings reach the mask
        parts = [ndimage.label(written == value, np.ones((3, 3, 3)))[1] for value in np.unique(written)[1:]]
        assert set(parts) == {1}
