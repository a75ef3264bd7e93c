import errno
import os
import subprocess
import sys

import pytest

from monai_ext.data.io.whole_file import sweep, whole_file


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new/folder/case.1_seg.nii.gz"
    with whole_file(path) as temporary:
        temporary.write_bytes(b"voxels")
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".case")
        assert temporary.name.endswith(".nii.gz")
        assert not path.exists()
    assert path.read_bytes() == b"voxels"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
def test_after_an_error_the_old_file_is_untouched(tmp_path, error):
    path = tmp_path / "file.json"
    path.write_text("old")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("half of the ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_of_two_writers_the_later_one_stays(tmp_path):
    path = tmp_path / "file.json"
    with whole_file(path) as late:
        with whole_file(path) as early:
            late.write_text("late")
            early.write_text("early")
        assert path.read_text() == "early"
    assert path.read_text() == "late"
    assert os.listdir(tmp_path) == ["file.json"]


def test_what_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), whole_file(tmp_path / "file/below.json"):
        pytest.fail("the block must not begin")


@pytest.mark.parametrize("name", [lambda temporary: (), lambda temporary: (str(temporary),)])
def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path, name):
    def fail():
        with whole_file(tmp_path / "picture.png") as temporary:
            raise OSError(errno.ENOSPC, "No space left on device", *name(temporary))

    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/picture.png'"):
        fail()


def test_an_error_without_a_number_keeps_its_words(tmp_path):
    def fail():
        with whole_file(tmp_path / "voxels.npy"):
            raise OSError("64 requested and 8 written")

    with pytest.raises(OSError, match=r"^64 requested and 8 written$"):
        fail()


def leave_half_a_file(path):
    """A process that is killed while it writes; its temporary file."""
    code = (
        "import os, sys; from monai_ext.data.io.whole_file import whole_file\n"
        "with whole_file(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)])
    (left,) = path.parent.glob(f".{path.name}.*")
    return left


def test_what_killed_processes_left_is_swept_and_the_files_of_others_stay(tmp_path):
    left = [leave_half_a_file(tmp_path / name) for name in ("model.pt", "deep/case_seg.nii.gz")]
    others = [tmp_path / ".lock", tmp_path / ".model.pt.lock", tmp_path / ".model.pt.note", tmp_path / "model.pt"]
    parts = left[0].name.rsplit(".", 2)[1].split("-")
    foreign = left[0].with_name(left[0].name.replace(parts[0], "00000000"))
    living = left[0].with_name(left[0].name.replace(f"-{parts[1]}-", "-1-"))
    mine = left[0].with_name(left[0].name.replace(f"-{parts[1]}-", f"-{os.getpid()}-"))  # of an earlier one so numbered
    for path in (*others, foreign, living, mine):
        path.write_text("")
    with whole_file(tmp_path / "other.pt") as writing:
        writing.write_text("now")
        sweep(tmp_path)
        assert [path.exists() for path in (*left, mine)] == [False, True, False]
        assert all(path.exists() for path in (*others, foreign, living, writing))
    sweep(tmp_path, deep=True)
    assert not left[1].exists()
    os.utime(foreign, (0, 0))
    sweep(tmp_path)
    assert not foreign.exists()
    sweep(tmp_path / "nothing")
