"""Break a good file in many ways and read each: ``python fuzz_inputs.py LOADERS COUNT FOLDER`` reports as JSON."""

import contextlib
import gzip
import json
import os
import pickle
import random
import resource
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import torch

from monai_ext.data import check_datalist, load_datalist
from monai_ext.data.io.image_header import read_header
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import BundleError
from monai_ext.networks import load_weights

SHAPE = (9, 8, 7)
BUDGET = 24 * 2**20  # voxels that are read; the process sets it as a user would
HUGE = [0, -1, 1, 2, 255, 32767, -32768, 60000, 2**31 - 1, -(2**31)]
FLOATS = [0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")]


def mutate(content, rng, header=400):
    """Bytes changed like those of a damaged or a manipulated file."""
    data = bytearray(content) + bytes(16) * (len(content) < 16)
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:  # bits of the header
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(min(header, len(data)))] ^= 1 << rng.randrange(8)
    elif kind == 2:  # a number of the header, extreme
        offset, code = rng.randrange(max(1, min(header, len(data)) - 8)), rng.choice("hif")
        value = rng.choice(FLOATS) if code == "f" else rng.choice(HUGE)
        value = max(-32768, min(32767, value)) if code == "h" else value
        struct.pack_into(f"<{code}", data, offset, value)
    elif kind == 3:  # bytes anywhere
        for _ in range(rng.randint(1, 50)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 4:
        return rng.randbytes(rng.randrange(2000))
    elif kind == 5:  # a piece repeated or left out
        a, b = sorted(rng.randrange(len(data)) for _ in range(2))
        return bytes(data[:a] + data[a:b] * rng.choice([0, 2, 5]) + data[b:])
    else:
        return bytes(data) + rng.randbytes(rng.randrange(500))
    return bytes(data)


def nifti_bytes(rng, mutated):
    image = nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), np.diag([1, 2, 3, 1]))
    content = image.to_bytes()
    if rng.random() < 0.3:  # the sizes themselves: dim[0..7] are at byte 40, the type at 70, the offset at 108
        data = bytearray(content)
        dims = [rng.choice([3, 4, 7, 0, -1, 9])] + [rng.choice([*SHAPE, 1, 0, -5, 30000, 32767]) for _ in range(7)]
        struct.pack_into("<8h", data, 40, *dims)
        struct.pack_into("<h", data, 70, rng.choice([2, 4, 16, 64, 128, 1792, 2304, 9999, 0]))
        struct.pack_into("<f", data, 108, rng.choice([352.0, 0.0, -8.0, 1e9, float("nan")]))
        return bytes(data)
    return mutated(content)


def read_image(path):
    """Header and voxels, as the preflight and the loader read them."""
    with contextlib.suppress(BundleError):
        read_header(path)
    read_volume(path, "case7")


def nifti(folder, number, rng):
    path = folder / f"{number}.nii"
    path.write_bytes(nifti_bytes(rng, lambda content: mutate(content, rng, 348)))
    return lambda: read_image(path)


def bomb(rng, header, itemsize):
    """A small file of very many zeros, of which the header claims some, all, or more than are read."""
    count = rng.choice([10**6, BUDGET // 2, BUDGET, BUDGET + 9, 3 * BUDGET])
    side = round((rng.choice([10**3, count, count]) * rng.choice([0.1, 1, 1, 2])) ** (1 / 3))
    return header((side, side, side)), bytes(count * itemsize)


def nifti_bomb(shape, rng):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    extended = rng.random() < 0.3
    if extended:
        header["vox_offset"] = 1024
    length = rng.choice([672, 2**31 - 16, 10**8, -16, 0])
    return header.binaryblock + (b"\1\0\0\0" + struct.pack("<ii", length, 6) + bytes(664) if extended else bytes(4))


def nifti_gz(folder, number, rng):
    path = folder / f"{number}.nii.gz"
    if number % 12 == 0:
        path.write_bytes(gzip.compress(b"".join(bomb(rng, lambda shape: nifti_bomb(shape, rng), 1)), 1))
        return lambda: read_image(path)
    if rng.random() < 0.5:
        path.write_bytes(gzip.compress(nifti_bytes(rng, lambda content: mutate(content, rng, 348))))
    else:
        path.write_bytes(mutate(gzip.compress(nifti_bytes(rng, lambda content: content)), rng, 60))
    return lambda: read_image(path)


def meta_text(rng, data_file, compressed=False):
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 2 3",
        "DimSize": "9 8 7",
        "ElementType": "MET_SHORT",
        "ElementDataFile": data_file,
    }
    for _ in range(rng.randrange(3)):
        key = rng.choice(list(fields)[:-1])
        values = [
            "",
            "0",
            "-1",
            "nan nan nan",
            "60000 60000 60000",
            "2147483647 2 2",
            "9 8",
            "MET_DOUBLE",
            "x" * 3000,
            "1 1 1 1 1 1 1 1 1",
        ]
        if rng.random() < 0.2:
            del fields[key]
        else:
            fields[key] = rng.choice(values)
    return "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()


def meta_bomb(shape):
    size = " ".join(map(str, shape))
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nOffset = 0 0 0\n"
        f"ElementSpacing = 1 2 3\nDimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    ).encode()


def meta_image(folder, number, rng):
    if number % 12 == 0:
        path = folder / f"{number}.mha"
        header, zeros = bomb(rng, lambda shape: meta_bomb(shape), 1)
        path.write_bytes(header + zlib.compress(zeros, 1))
        return lambda: read_image(path)
    path, voxels = folder / f"{number}.mha", np.arange(np.prod(SHAPE), dtype=np.int16).tobytes()
    content = meta_text(rng, "LOCAL") + voxels
    path.write_bytes(mutate(content, rng) if rng.random() < 0.5 else content)
    return lambda: read_image(path)


def meta_header(folder, number, rng):
    """A .mhd whose voxels lie in another file that is too short, missing, or outside the folder."""
    path = folder / f"{number}.mhd"
    (folder / f"{number}.raw").write_bytes(bytes(rng.choice([0, 10, 2 * int(np.prod(SHAPE))])))
    content = meta_text(rng, rng.choice([f"{number}.raw", f"{number}.raw", "nothing.raw", "/etc/passwd", "../x"]))
    path.write_bytes(mutate(content, rng) if rng.random() < 0.3 else content)
    return lambda: read_image(path)


NRRD = "NRRD0004\ntype: {type}\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
NRRD += "space directions: (1,0,0) (0,2,0) (0,0,3)\nendian: little\nencoding: {encoding}\nspace origin: (0,0,0)\n"


def nrrd_header(folder, number, rng):
    """An .nhdr whose voxels lie in another file that is too short, missing, or outside the folder, and a bomb."""
    path, voxels = folder / f"{number}.nhdr", folder / f"{number}.raw"
    kind, encoding = rng.choice(["short", "short", "block", "double"]), rng.choice(["raw", "raw", "gzip", "hex", "zip"])
    fields = {"type": kind, "encoding": encoding, "sizes": "9 8 7"}
    if number % 12 == 0:
        fields = {"type": "uchar", "encoding": "gzip"}
        fields["sizes"], zeros = bomb(rng, lambda shape: " ".join(map(str, shape)), 1)
        voxels.write_bytes(gzip.compress(zeros, 1))
    else:
        plain = bytes(rng.choice([0, 10, 2 * int(np.prod(SHAPE))]))
        voxels.write_bytes(gzip.compress(plain) if encoding == "gzip" else plain)
    data = rng.choice([voxels.name] * 4 + ["nothing.raw", "/etc/passwd", "../x", "LIST", "%d.raw 1 3 1", "sub/a.raw"])
    key = rng.choice(["data file", "datafile", "DATA FILE"])
    extra = rng.choice(["", "", "kinds: RGB-color domain domain\n", "byte skip: -1\n", "line skip: 99999999\n"])
    content = (NRRD.format(**fields) + extra + f"{key}: {data}\n").encode()
    path.write_bytes(mutate(content, rng, 150) if rng.random() < 0.3 else content)
    return lambda: read_image(path)


def nrrd(folder, number, rng):
    sizes = rng.choice(["9 8 7", "9 8 7", "60000 60000 60000", "9 8", "0 8 7", "-9 8 7"])
    content = f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n".encode()
    content += b"space directions: (1,0,0) (0,2,0) (0,0,3)\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    content += bytes(2 * int(np.prod(SHAPE)))
    path = folder / f"{number}.nrrd"
    path.write_bytes(mutate(content, rng, 150) if rng.random() < 0.6 else content)
    return lambda: read_image(path)


def write_series(folder):
    """Five slices as DICOM, by ITK."""
    folder.mkdir()
    for z in range(5):
        image = itk.image_from_array(np.arange(72, dtype=np.int16).reshape(1, 8, 9))
        image.SetOrigin([0.0, 0.0, 3.0 * z])
        image.SetSpacing([1.0, 1.0, 3.0])
        io = itk.GDCMImageIO.New(KeepOriginalUID=True)
        tags = image.GetMetaDataDictionary()
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"1.2.3.4.{z + 1}",
            "0008|0060": "MR",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0013": str(z),
        }.items():
            tags[tag] = value
        itk.imwrite(image, str(folder / f"{z}.dcm"), imageio=io)


def dicom(folder, number, rng):
    source, path = folder / "series", folder / f"series{number}"
    path.mkdir()
    broken = rng.sample(range(5), rng.randint(1, 5))
    for z in range(5):
        content = (source / f"{z}.dcm").read_bytes()
        (path / f"{z}.dcm").write_bytes(mutate(content, rng, 900) if z in broken else content)
    return lambda: read_image(path)


def datalist(folder, number, rng):
    """JSON whose values are anything."""
    for value, name in enumerate(("a.nii.gz", "b.nii.gz")):
        if not (folder / name).exists():
            nib.save(nib.Nifti1Image(np.full(SHAPE, value, np.float32), np.eye(4)), folder / name)

    def anything(depth=0):
        plain = [
            None,
            True,
            -1,
            3.5,
            float("nan"),
            "",
            "a.nii.gz",
            "../a.nii.gz",
            "/etc/passwd",
            "x\0y.nii.gz",
            "\ud800.nii.gz",
            "b/",
            "~/a.nii",
            "a" * 5000 + ".nii.gz",
        ]
        if depth > 3 or rng.random() < 0.5:
            return rng.choice(plain)
        if rng.random() < 0.5:
            return [anything(depth + 1) for _ in range(rng.randrange(4))]
        keys = ["id", "image", "label", "fold", "patient", "training", "testing", "", "t2w"]
        return {rng.choice(keys): anything(depth + 1) for _ in range(rng.randrange(5))}

    items = [{"id": n, "image": f"{name}.nii.gz", "fold": 0} for n, name in enumerate("ab")]
    if rng.random() < 0.7:
        items += [{"id": anything(2), "image": anything(3), "fold": anything(3), "t2w": anything(2)} for _ in range(3)]
    content = {"training": items} if rng.random() < 0.6 else anything()
    text = json.dumps(content)
    if rng.random() < 0.3:
        text = mutate(text.encode(), rng).decode("latin-1")
    if rng.random() < 0.05:
        text = "[" * 100_000
    path = folder / f"{number}.json"
    path.write_text(text)

    def read():
        with contextlib.suppress(BundleError):
            check_datalist(path, folder)
        load_datalist(path, folder, folds=rng.choice([None, 0]))

    return read


def checkpoint(folder, number, rng):
    network = torch.nn.Linear(40, 30)
    source = folder / "good.pt"
    if not source.exists():
        torch.save({"model": network.state_dict()}, source)
        torch.save({"model": network.state_dict()}, folder / "old.pt", _use_new_zipfile_serialization=False)
    path = folder / f"{number}.pt"
    content = rng.choice([source, folder / "old.pt"]).read_bytes()
    if rng.random() < 0.15:
        values = [[1, 2], {"model": 3}, {"model": {"weight": "x"}}, {1: 2}, None, {"weight": torch.ones(2)}, b"x" * 100]
        content = pickle.dumps(rng.choice(values))
    path.write_bytes(mutate(content, rng, len(content)))
    return lambda: load_weights(network, path)


def main(loaders, count, folder):
    warnings.simplefilter("ignore")
    os.environ["MONAI_EXT_MAX_VOXELS"] = str(BUDGET)
    torch.set_num_threads(1)
    warm = folder / "warm"
    warm.mkdir(parents=True)
    for name in ("good.nii.gz", "good.mha", "good.nrrd"):
        itk.imwrite(itk.image_from_array(np.ones(SHAPE, np.float32)), str(warm / name))
        read_image(warm / name)
    write_series(warm / "series")
    read_image(warm / "series")
    # Many inputs claim terabytes; what really asks for them fails here instead of taking the machine down.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**30, -1))
    for loader in loaders:
        print(json.dumps(fuzz(loader, count, folder / loader)), flush=True)


def fuzz(loader, count, folder):
    folder.mkdir()
    if loader == "dicom":
        write_series(folder / "series")
    report = {"loader": loader, "inputs": 0, "read": 0, "named": 0, "unnamed": [], "slowest": 0.0, "refused_mb": 0.0}
    for number in range(count):
        rng = random.Random(f"{loader} {number}")
        read = globals()[loader](folder, number, rng)
        before, started = memory_mb("VmRSS"), time.process_time()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        report["inputs"] += 1
        try:
            read()
            report["read"] += 1
        except BundleError as error:
            report["named"] += 1
            report["refused_mb"] = max(report["refused_mb"], memory_mb("VmHWM") - before)
            if not str(error).strip():
                report["unnamed"].append(f"{number}: an error without words")
        except BaseException as error:
            report["unnamed"].append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        report["slowest"] = max(report["slowest"], time.process_time() - started)
    return report


def memory_mb(kind):
    """Memory of this process: ``VmRSS`` now, ``VmHWM`` at its peak."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[kind].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1].split(","), int(sys.argv[2]), Path(sys.argv[3]))
