import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("lint_imports", ROOT / "ci/lint_imports.py")
lint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lint)


def problems(root, **files):
    """Problems of a package of these modules; ``data__io`` is the package data/io, ``losses__a`` is losses/a."""
    for name, code in {"": "", **files}.items():
        path = root / "monai_ext" / name.replace("__", "/")
        packages = [path, *path.parents][: len(path.relative_to(root).parts)]
        for package in packages[1:] if name else packages:
            package.mkdir(parents=True, exist_ok=True)
            if not (package / "__init__.py").exists():
                (package / "__init__.py").write_text("")
        if name:
            (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).write_text(code)
    return list(lint.check_imports(root))


@pytest.mark.parametrize(
    ("module", "code", "found"),
    [
        ("transforms__a", "from monai_ext.data.io.b import c", None),
        ("data__io__a", "from monai_ext.transforms.b import c", "transforms above data.io"),
        ("metrics__a", "from monai_ext.transforms import b", "transforms above metrics"),
        ("data__io__a", "import monai_ext.data.b", "data above data.io"),
        ("losses__a", "from monai_ext.maskers.b import c", "losses and maskers are rooms of one floor"),
        ("maskers__a", "from monai_ext.losses.b import c", "maskers and losses are rooms of one floor"),
        ("networks__blocks__a", "from monai_ext.networks.nets.b import c", "networks.nets above networks"),
        ("networks__nets__a", "from monai_ext.losses.b import c", None),
        ("handlers__a", "from monai_ext.check import c", "commands above handlers"),
        ("engines__a", "from monai_ext.phases.b import c", "phases above engines"),
        ("phases__a", "from monai_ext.bundle import c", None),
        ("losses__a", "from .b import c", "a relative import"),
        ("losses__a", "def f():\n    import torch", "losses/a.py:2: an import inside a function needs its reason"),
        ("losses__a", "def f():\n    import torch  # late:", "needs its reason"),
        ("losses__a", "def f():\n    import torch  # late: it takes a second", None),
        ("losses__a", "def f():\n    from monai_ext.engines import b  # late: no", "engines above losses"),
    ],
)
def test_where_an_import_may_go(tmp_path, module, code, found):
    parts = ("data__io", "data", "transforms", "losses", "maskers", "networks__nets", "phases", "engines")
    others = {f"{part}__b": "c = 1" for part in parts} | {"check": "c = 1", "bundle": "c = 1"}
    seen = problems(tmp_path, **others, **{module: code})
    assert len(seen) == (found is not None), seen
    assert not found or found in seen[0]


@pytest.mark.parametrize("init", ["from monai_ext.losses.a import A", '_MODULES = {"A": "a"}'])
def test_a_circle_is_found_through_what_packages_export(tmp_path, init):
    files = {
        "losses__a": "from monai_ext.losses.b import B\nA = 1",
        "losses__b": "from monai_ext.losses import A\nB = 1",
    }
    seen = problems(tmp_path, **files, losses=init)
    assert seen == ["a circle of imports: monai_ext.losses.a -> monai_ext.losses.b -> monai_ext.losses.a"]


def test_the_package_is_in_order():
    assert list(lint.check_imports(ROOT)) == []
