import itk
import numpy as np
import pytest
import torch

from monai_ext.errors import DataError
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"")


@pytest.mark.parametrize(
    ("first", "adc", "hbv"),
    [
        ("case_t2w.nii.gz", "case_adc.nii.gz", "case_hbv.nii.gz"),
        ("case_t2w.nii.gz", "case_adc.mha", "case_hbv.nii"),
        ("case.nii.gz", "case_adc.nii.gz", "case_hbv.nii.gz"),
        ("t2w.mha", "adc.mha", "hbv.mha"),
        ("dicom/t2w/", "dicom/adc/", "dicom/hbv/"),
        ("a.b_T2W.nii", "a.b_adc.nii", "a.b_hbv.nii"),
    ],
)
def test_names(tmp_path, first, adc, hbv):
    touch(tmp_path, first, adc, hbv)
    item = SiblingModalitiesd()({"image": str(tmp_path / first), "label": "l"})
    expected = {"t2w": first, "adc": adc, "hbv": hbv}
    assert item == {**{key: str(tmp_path / name) for key, name in expected.items()}, "label": "l"}


def test_explicit_paths_win_and_own_format_comes_first(tmp_path):
    touch(tmp_path, "c_t2w.mha", "c_adc.nii.gz", "c_adc.mha", "c_hbv.mha")
    item = SiblingModalitiesd()({"t2w": str(tmp_path / "c_t2w.mha"), "hbv": "elsewhere.nii"})
    assert item["hbv"] == "elsewhere.nii"
    assert item["adc"] == str(tmp_path / "c_adc.mha")


def test_missing_sibling_names_what_was_looked_for(tmp_path):
    touch(tmp_path, "c_t2w.nii.gz", "c_adc.nii.gz")
    with pytest.raises(DataError, match=r"case 5: .*hbv is missing; looked for c_hbv.nii.gz, c_hbv.nii, c_hbv.mha"):
        SiblingModalitiesd()({"id": 5, "t2w": str(tmp_path / "c_t2w.nii.gz")})
    with pytest.raises(DataError, match="no t2w"):
        SiblingModalitiesd()({"id": 5})


def test_optional_and_replaced_modalities(tmp_path):
    touch(tmp_path, "c_t2w.mha", "c_gland.nii.gz", "c_low.mha", "c_high.mha")
    optional = {"gland": "_gland", "low": "_low", "high": "_high", "zones": "_zones"}
    find = SiblingModalitiesd(optional=optional, unless={"adc": ("low", "high"), "hbv": ("low", "high")})
    item = find({"t2w": str(tmp_path / "c_t2w.mha")})
    assert item.keys() == {"t2w", "gland", "low", "high"}


@pytest.mark.parametrize("kind", ["nii.gz", "mha"])
def test_stack_is_split_in_order(tmp_path, save, kind):
    values = np.random.default_rng(0).normal(size=(6, 7, 8, 3)).astype(np.float32)
    path = tmp_path / f"stack.{kind}"
    if kind == "mha":
        image = itk.image_from_array(values.transpose(3, 2, 1, 0).copy(), is_vector=False)
        image.SetSpacing([0.5, 0.5, 3.0, 1.0])
        itk.imwrite(image, str(path))
    else:
        save(path, values)
    item = StackedModalitiesd()({"image": str(path)})
    assert item.keys() == {"t2w", "adc", "hbv"}
    for index, key in enumerate(("t2w", "adc", "hbv")):
        np.testing.assert_array_equal(item[key][0].numpy(), values[..., index])
    assert torch.linalg.det(item["adc"].affine).abs().item() == pytest.approx(0.75, rel=1e-2)


def test_stack_of_other_length(tmp_path, save):
    path = save(tmp_path / "stack.nii.gz", np.random.rand(6, 7, 8, 2).astype(np.float32))
    with pytest.raises(DataError, match="holds 2 volumes, but 3 are expected: t2w, adc, hbv"):
        StackedModalitiesd()({"image": path})
    data = {"image": save(tmp_path / "flat.nii.gz", np.random.rand(6, 7, 8).astype(np.float32))}
    assert StackedModalitiesd()(data) == data


def test_masks_beside_a_stack_are_found(tmp_path):
    touch(tmp_path, "c_stack.nii.gz", "c_stack_gland.mha", "c_stack_zones.nii.gz")
    find = SiblingModalitiesd(optional={"gland": "_gland", "zones": "_zones", "low": "_low"})
    item = find.optional_beside({"image": "x", "zones": "given"}, tmp_path / "c_stack.nii.gz")
    assert item == {"image": "x", "gland": str(tmp_path / "c_stack_gland.mha"), "zones": "given"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            ("p7_t2w.mha", ("t2w", "p7")),
            ("p7_ADC.nii.gz", ("adc", "p7")),
            ("T2W.nrrd", ("t2w", "")),
            ("p7.mha", ("", "p7")),
        ),
        *(("p7_gland.nii", ("gland", "p7")), ("xadc.mha", ("", "xadc")), ("SUV.nii.gz", ("", "SUV"))),
    ],
)
def test_the_end_of_a_name_says_the_modality(name, expected):
    assert SiblingModalitiesd(optional={"gland": "_gland"}).modality_of(f"folder/{name}") == expected


def test_other_namings_say_it_too():
    brats = {"flair": "-t2f", "t1": "-t1n"}
    naming = SiblingModalitiesd("flair", {"t1": "_t1"}, aliases=dict.fromkeys(brats.values(), brats))
    found = {name: naming.modality_of(name) for name in ("b-t2f.nii.gz", "b-t1n.nii.gz", "b_t1.nii.gz", "b-t2w.nii.gz")}
    assert list(found.values()) == [("flair", "b"), ("t1", "b"), ("t1", "b"), ("", "b-t2w")]
    assert naming.keys == ("flair", "t1")
