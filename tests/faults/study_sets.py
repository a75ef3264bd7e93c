"""Many small studies in the layouts that hospitals export, some of them broken, each in one of several ways."""

import shutil

import itk
import nibabel as nib
import numpy as np

SHAPE, SPACING = (20, 18, 12), 8.0


def volume(number):
    """Voxels of a study, and its affine: no two studies have one origin."""
    rng = np.random.default_rng(number)
    values = rng.normal(40, 60, SHAPE)
    corner = rng.integers(2, 8, 3)
    values[tuple(slice(c, c + 6) for c in corner)] += 300
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = -80.0, -70.0, 3.0 * number
    return values.astype(np.int16), affine


def write_nifti(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(*volume(number)), path)


def write_dicom(folder, number):
    values, affine = volume(number)
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(SHAPE[2]):
        image = itk.image_from_array(np.ascontiguousarray(values[:, :, z].T[None]))
        image.SetSpacing([SPACING] * 3)
        image.SetOrigin([-affine[0, 3], -affine[1, 3], affine[2, 3] + SPACING * z])
        image.SetDirection(itk.matrix_from_array(np.diag([-1.0, -1.0, 1.0])))
        io = itk.GDCMImageIO.New(KeepOriginalUID=True)
        tags = image.GetMetaDataDictionary()
        uid = f"1.2.826.{number + 1}"
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.1.{z + 1}",
            "0008|0060": "CT",
            "0020|000d": uid,
            "0020|000e": f"{uid}.1",
            "0020|0013": str(z),
        }.items():
            tags[tag] = value
        itk.imwrite(image, str(folder / f"{z:03d}.dcm"), imageio=io)


def damage_nifti(path, number):
    """Break a file in one of ten ways."""
    values, affine = volume(number)
    kind = number % 10
    if kind == 0:
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == 1:
        path.write_bytes(b"")
    elif kind == 2:
        path.write_bytes(b"<html>404 Not Found</html>")
    elif kind == 3:
        path.unlink()
    elif kind == 4:
        broken = values.astype(np.float32)
        broken[3, 4, 5] = np.nan
        nib.save(nib.Nifti1Image(broken, affine), path)
    elif kind == 5:
        nib.save(nib.Nifti1Image(values.astype(np.complex64), affine), path)
    elif kind == 6:
        nib.save(nib.Nifti1Image(values[:, :, :1], affine), path)
    elif kind == 7:
        nib.save(nib.Nifti1Image(values, affine @ np.diag([30, 30, 30, 1])), path)
    elif kind == 8:
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]), affine), path)
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)


def damage_dicom(folder, number):
    """Break a series in one of five ways."""
    files = sorted(folder.iterdir())
    kind = number % 5
    if kind == 0:
        files[4].write_bytes(files[4].read_bytes()[:-100])
    elif kind == 1:
        files[4].unlink()
    elif kind == 2:
        for file in files:
            file.write_bytes(b"no image")
    elif kind == 3:
        shutil.rmtree(folder)
    else:
        write_dicom(folder.parent / "other", number + 1000)
        for file in (folder.parent / "other").iterdir():
            shutil.copy(file, folder / f"other_{file.name}")
        shutil.rmtree(folder.parent / "other")


LAYOUTS = {  # path of study number n, how to write it, how to break it, and the id that its path gives
    "files": (lambda n: f"scan_{n:03d}.nii.gz", write_nifti, damage_nifti, lambda n: f"scan_{n:03d}"),
    "folders": (lambda n: f"s{n:04d}/ct.nii.gz", write_nifti, damage_nifti, lambda n: f"s{n:04d}"),
    "dicom": (lambda n: f"patient{n}/study/series", write_dicom, damage_dicom, lambda n: f"patient{n}_study_series"),
}
