import errno
import subprocess
import sys

import pytest

from monai_ext.errors import CheckpointError, ConfigError, DataError, StudyError, TrainingError, find_bundle_error


def test_a_data_error_names_case_file_cause_and_remedy():
    error = DataError("the file is truncated", "Copy it again.", "case7", "/scans/a.nii.gz")
    assert str(error) == "case case7: /scans/a.nii.gz: the file is truncated. Copy it again."
    assert str(DataError("no case")) == "no case"


def test_the_innermost_error_is_found_under_monais_wrappers():
    cause, middle, outer = DataError("cause"), RuntimeError("applying transform"), RuntimeError("evaluating")
    middle.__cause__, outer.__context__ = cause, middle
    assert find_bundle_error(outer) is cause
    assert find_bundle_error(ValueError("other")) is None


def test_an_error_raised_from_another_stands_for_it():
    inner, case, outer = DataError("cause"), DataError("cause", "", "case7"), RuntimeError("applying transform")
    case.__cause__, outer.__cause__ = inner, case
    assert find_bundle_error(outer) is case
    case.__cause__, inner.__context__ = ValueError("of a library"), None
    case.__cause__.__context__ = inner
    assert find_bundle_error(outer) is inner


def test_a_full_disk_names_the_file_where_any_of_several_errors_does():
    nameless, named = OSError(errno.ENOSPC, "No space left"), OSError(errno.ENOSPC, "No space left", "/out/case7.png")
    named.__context__ = nameless
    assert str(find_bundle_error(named)).startswith("cannot write /out/case7.png: No space left. ")
    named.__context__, nameless.__context__ = None, named
    assert "/out/case7.png" in str(find_bundle_error(nameless))
    assert "cannot write to the disk" in str(find_bundle_error(OSError(errno.ENOSPC, "No space left")))
    assert find_bundle_error(OSError(errno.ENOENT, "No such file")) is None


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ConfigError, 2),
        (DataError, 3),
        (CheckpointError, 4),
        (TrainingError, 5),
        (StudyError, 6),
        (ValueError, 1),
        (KeyboardInterrupt, 130),
    ],
)
def test_exit_codes_and_tracebacks(raised, code):
    script = f"from monai_ext.errors import *\ninstall_excepthook()\nraise {raised.__name__}('because') from OSError()"
    script = script.replace(
        "import *", "import " + ", ".join(["install_excepthook", *([raised.__name__] * (1 < code < 9))])
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == code
    assert "because" in run.stderr
    assert ("Traceback" in run.stderr) == (raised in (ValueError, KeyboardInterrupt))


def test_the_error_is_shown_under_the_hook_of_torch_distributed(tmp_path):
    script = f"""
import torch.distributed as dist
from monai_ext.errors import DataError, install_excepthook
install_excepthook()
dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
raise DataError("because")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 3
    assert "error: because" in run.stderr
