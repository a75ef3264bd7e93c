"""The lint's search for unsafe loading; the list of hostile code is data: any new way in belongs there."""

from pathlib import Path

import pytest
from unsafe_code import check_unsafe

ROOT = Path(__file__).parents[1]
HOSTILE = [
    "from torch import load as l\nl('x')",
    "from torch import load as l\nl('x', weights_only=True)",  # the name hides what is loaded
    "import torch as t\nt.load('x')",
    "import torch\ntorch.load('x', weights_only=False)",
    "import torch\nsafe = False\ntorch.load('x', weights_only=safe)",
    "import torch\noptions = {'weights_only': False}\ntorch.load('x', **options)",
    "import functools, torch\nfunctools.partial(torch.load)('x')",
    "from functools import partial\nimport torch\npartial(torch.load, weights_only=False)('x')",
    "import torch\ngetattr(torch, 'load')('x')",
    "import torch\ngetattr(torch, 'lo' + 'ad')('x')",
    "import torch\nload = torch.load\nload('x')",
    "import torch\nt = torch\nt.load('x')",
    "import torch\nvars(torch)['load']('x')",
    "import torch\ntorch.__dict__['load']('x')",
    "import torch\n[f for f in (torch.load,)][0]('x')",
    "import torch\ndef f(load=torch.load):\n    return load('x')",
    "import torch\ndef f(t=torch):\n    return t.load('x')",
    "import torch\nsorted(['x'], key=torch.load)",
    "def f():\n    import torch as t\n    return t.load('x')",
    "import torch.serialization as s\ns.load('x')",
    "from torch.serialization import load\nload('x')",
    "from torch import serialization\nserialization.load('x')",
    "import torch\ntorch.serialization._legacy_load('x')",
    "import torch\ntorch.serialization.pickle.loads(b'x')",
    "import torch\ntorch.serialization.add_safe_globals([print])",
    "import torch\ntorch.jit.load('x')",
    "from torch.jit import load\nload('x')",
    "import torch\ntorch.hub.load('x', 'y')",
    "from torch.hub import load_state_dict_from_url as fetch\nfetch('x')",
    "from torch import hub\nhub.load('x', 'y')",
    "import torch.package as p\np.PackageImporter('x')",
    "from monai_ext.networks.weights import torch as numbers\nnumbers.load('x')",
    "import monai_ext.networks.weights as w\nw.torch.load('x')",
    "from ignite.handlers import checkpoint\ncheckpoint.torch.load('x')",
    "from monai.bundle import scripts\nscripts.subprocess.getoutput('id')",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "import numpy as np\nnp.load('x', None, True)",
    "import numpy as np\nyes = True\nnp.load('x', allow_pickle=yes)",
    "import numpy as np\nnp.load('x', **{'allow_pickle': True})",
    "from numpy import load as read\nread('x', allow_pickle=True)",
    "import numpy as np\nfrom functools import partial\npartial(np.load, allow_pickle=True)('x')",
    "import numpy as np\nnp.lib.format.read_array(open('x', 'rb'), True)",
    "import pickle",
    "import pickle as p\np.loads(b'x')",
    "from pickle import loads as read",
    "import _pickle",
    "from joblib import load",
    "import shelve, marshal",
    "from multiprocessing.reduction import pickle",
    "import importlib\nimportlib.import_module('pickle').loads(b'x')",
    "from importlib import import_module as i\ni('pic' + 'kle').loads(b'x')",
    "from monai.utils import optional_import\np, _ = optional_import('pickle')",
    "__import__('pickle').loads(b'x')",
    "import sys\nsys.modules['pickle'].loads(b'x')",
    "import yaml\nyaml.load('x', yaml.Loader)",
    "import yaml\nyaml.load('x')",
    "from yaml import load as l\nl('x')",
    "import yaml\nyaml.unsafe_load('x')",
    "from yaml import UnsafeLoader",
    "import pandas as pd\npd.read_pickle('x')",
    "from pandas import read_pickle",
    "eval('1')",
    "run = exec\nrun('1')",
    "import builtins\nbuiltins.eval('1')",
    "import builtins\ngetattr(builtins, 'ex' + 'ec')('1')",
    "from builtins import eval as e\ne('1')",
    "__builtins__['eval']('1')",
    "import torch\nglobals()['torch'].load('x')",
    "().__class__.__base__.__subclasses__()",
    "(lambda: 0).__globals__['eval']",
    "import operator, torch\noperator.attrgetter('load')(torch)('x')",
    "import os\nos.system('x')",
    "from os import system as s\ns('x')",
    "import os\nos.execvp('sh', [])",
    "import shutil\nshutil.os.system('x')",
    "import subprocess\nsubprocess.run('x', shell=True)",
    "import subprocess\nyes = True\nsubprocess.run('x', shell=yes)",
    "from subprocess import getoutput",
    "import runpy\nrunpy.run_path('x')",
    "from torch import *\nload('x')",
]
RIGHT = [
    "import torch\ntorch.load('x', weights_only=True)",
    "import torch as t\nt.load('x', map_location='cpu', weights_only=True)",
    "import torch\nnetwork = torch.nn.Linear(1, 1)\nnetwork.load_state_dict({})",
    "import numpy as np\nnp.load('x')",
    "import numpy as np\nnp.load('x', mmap_mode='r', allow_pickle=False)",
    "import nibabel\nnibabel.load('x')",
    "import json\njson.load(open('x'))",
    "import yaml\nyaml.safe_load('x')",
    "import re\nre.compile('x')",
    "import subprocess\nsubprocess.run(['x'])",
    "import subprocess\nsubprocess.run(['x'], shell=False)",
    "network = object()\nnetwork.eval()",
    "from importlib import import_module\nimport_module(f'monai_ext.{1}')",
    "from monai.utils import optional_import\nnvflare, found = optional_import('nvflare')",
    "import math\nname = 'x'\ngetattr(name, name)\ngetattr(math, 'pi')",
    "class A:\n    def load(self):\n        return self.load()",
]


def problems(tmp_path, code):
    (tmp_path / "a.py").write_text(code)
    return list(check_unsafe(tmp_path / "a.py"))


@pytest.mark.row(21)
@pytest.mark.parametrize("code", HOSTILE)
def test_hostile_code_is_found(tmp_path, code):
    found = problems(tmp_path, code)
    assert found
    assert all(problem.startswith(f"{tmp_path / 'a.py'}:") for problem in found)


@pytest.mark.row(21)
@pytest.mark.parametrize("code", RIGHT)
def test_right_code_passes(tmp_path, code):
    assert problems(tmp_path, code) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", "a.py:1: imports pickle"),
        ("import torch as t\nt.load('x')", "a.py:2: torch.load without weights_only=True"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "a.py:2: np.load with allow_pickle"),
        ("import yaml\nyaml.load('x')", "a.py:2: calls yaml.load; use yaml.safe_load"),
        ("import os\nos.system('x')", "a.py:2: calls os.system: it runs a shell"),
        ("import shutil\nshutil.os.system('x')", "calls shutil.os.system, which is posix.system: it runs a shell"),
        ("import torch\nt = torch", "a.py:2: hands on the module torch, from which any name can be taken"),
    ],
)
def test_message_names_the_line_and_what_it_reaches(tmp_path, code, found):
    assert any(found in problem for problem in problems(tmp_path, code)), problems(tmp_path, code)


def test_an_exception_holds_for_its_file_alone(tmp_path):
    source = (ROOT / "monai_ext/bundle_process.py").read_text()
    assert list(check_unsafe(ROOT / "monai_ext/bundle_process.py")) == []
    assert problems(tmp_path, source)
