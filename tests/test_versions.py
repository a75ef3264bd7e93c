import json
import platform

import torch

import monai_ext
from monai_ext.versions import versions


def test_names_what_decides_a_result_as_plain_text():
    found = versions()
    assert set(found) == {"python", "monai_ext", "monai", "torch", "ignite", "numpy"}
    assert found["python"] == platform.python_version()
    assert found["torch"] == str(torch.__version__)
    assert found["monai_ext"] == monai_ext.__version__
    assert json.loads(json.dumps(found)) == found
    assert all(type(value) is str for value in found.values())  # torch's is a class of its own
