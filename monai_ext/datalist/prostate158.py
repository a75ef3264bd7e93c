"""Prostate158 (Adams et al. 2022, doi 10.1016/j.compbiomed.2022.105817): train.csv, valid.csv and test.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError, DataError

__all__ = ["prostate158"]

COLUMNS = {"t2w": "t2", "adc": "adc", "hbv": "dwi"}
SPLITS: dict[str, dict[str, Any]] = {"train.csv": {"fold": 1}, "valid.csv": {"fold": 0}, "test.csv": {}}


def prostate158(
    root: str,
    out: str,
    masks: str | None = None,
    labels: str = "adc_tumor_reader1",
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of Prostate158 from its tables: train.csv is fold 1, valid.csv fold 0, test.csv "testing".

    The tables lie in ROOT or in the unpacked archives below it (prostate158_train, prostate158_test), each beside the
    folders its paths name. Tumour masks may hold the value 3, and a case without tumour names empty.nii.gz: make them
    binary with > 0. The key gland is the anatomy mask, whose codes differ between readers: take all above 0.

    Args:
        root: directory that holds the tables, or the unpacked archives.
        out: datalist to write.
        masks: folder that holds the masks under the paths of the tables, if they are not beside the images.
        labels: column of the tumour mask: adc_tumor_reader1, t2_tumor_reader1 or adc_tumor_reader2.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    cases = Collection("Prostate158", Path(root))
    tables = {name: _find_table(cases.root, name) for name in SPLITS}
    if tables["train.csv"] is None and tables["test.csv"] is None:
        raise DataError("there is no train.csv or test.csv", "Check --root.", file=cases.root)
    for name, table in tables.items():
        if table is None:
            cases.skip(name, "there is no such table below --root")
            continue
        for row in _read(table, [*COLUMNS.values(), "ID"], labels):
            base = Path(masks) if masks else table.parent
            anatomy, tumour = row.get("t2_anatomy_reader1"), row.get(labels)
            cases.add(
                row["ID"],
                {key: table.parent / row[column] for key, column in COLUMNS.items()},
                {"label": base / tumour if tumour else None, "gland": base / anatomy if anatomy else None},
                testing=name == "test.csv",
                positive=False if tumour and Path(tumour).name == "empty.nii.gz" else None,
                **SPLITS[name],
            )
    return cases.write(out, skip_incomplete=skip_incomplete)


def _find_table(root: Path, name: str) -> Path | None:
    """The table in root, or one or two folders below."""
    return next((path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(depth + name))), None)


def _read(table: Path, needed: list[str], labels: str) -> list[dict[str, str]]:
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    columns = reader.fieldnames or []
    if missing := [column for column in needed if column not in columns]:
        raise DataError(f"columns are missing: {', '.join(missing)}", f"It has {', '.join(columns)}.", file=table)
    if labels not in columns:
        tumours = [column for column in columns if "tumor" in column]
        raise ConfigError(f"--labels {labels!r} is no column of {table}; choose from {', '.join(tumours)}")
    return rows
