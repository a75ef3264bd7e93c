"""What became of each study of a prediction: for the screen, as a table in a file, and for Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from monai_ext.data.entries import Item, case_of
from monai_ext.data.io.csv_file import write_csv
from monai_ext.data.io.record import read_record, record_file
from monai_ext.data.studies import mask_file

__all__ = ["Outcome", "describe_outcomes", "outcomes_of", "write_outcomes", "written_before"]

STATES = {"done": "done", "kept": "done before", "failed": "failed", "left": "not reached"}
SHOWN = 50  # failures on the screen


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes:
        id: of the study, and the name of its folder.
        state: ``done``; ``kept``, as it was done before with these files, weights and settings; ``failed``; ``left``,
            as the run ended before its turn.
        mask: path of the mask; empty without one.
        notes: what is to be known of it, such as how the gland was found.
        cause: why it failed.
        remedy: what can be done about it.
        file: the file at fault, if one is.
    """

    id: str
    state: str
    mask: str = ""
    notes: str = ""
    cause: str = ""
    remedy: str = ""
    file: str = ""


def written_before(items: Sequence[Item], folder: Path) -> dict[str, int]:
    """When the record of each study's mask was written, of those that have one."""
    records = {case: record_file(mask_file(folder, case)) for case in map(case_of, items)}
    return {case: record.stat().st_mtime_ns for case, record in records.items() if record.is_file()}


def outcomes_of(
    items: Sequence[Item], folder: Path, before: Mapping[str, int], failures: Sequence[Mapping[str, str]]
) -> list[Outcome]:
    """What became of each study.

    Args:
        items: the studies.
        folder: of the results.
        before: what :func:`written_before` found when the run began.
        failures: of this run, each with ``id``, ``cause``, ``remedy`` and ``file``.
    """
    failed = {failure["id"]: failure for failure in failures}
    after = written_before(items, folder)
    found = []
    for case in map(case_of, items):
        if case in failed:
            found.append(Outcome(case, "failed", **{key: failed[case][key] for key in ("cause", "remedy", "file")}))
        elif case in after and mask_file(folder, case).is_file():
            notes = (read_record(mask_file(folder, case)) or {}).get("notes", ())
            state = "kept" if before.get(case) == after[case] else "done"
            found.append(Outcome(case, state, str(mask_file(folder, case)), "; ".join(notes)))
        else:
            found.append(Outcome(case, "left"))
    return found


def write_outcomes(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a table with one row for each study."""
    write_csv(map(asdict, outcomes), path, list(Outcome.__dataclass_fields__))


def describe_outcomes(outcomes: Sequence[Outcome]) -> str:
    """How many studies are done, and which are not, and why.

    Example:
        >>> print(describe_outcomes([Outcome("a", "done"), Outcome("b", "failed", cause="torn", remedy="Mend it.")]))
        2 studies: 1 done, 1 failed
          b: torn. Mend it.
    """
    counts = Counter(outcome.state for outcome in outcomes)
    states = ", ".join(f"{counts[state]} {word}" for state, word in STATES.items() if counts[state])
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    lines = [f"{len(outcomes)} {'study' if len(outcomes) == 1 else 'studies'}: {states}"]
    lines += [f"  {o.id}: {o.file and o.file + ': '}{o.cause}. {o.remedy}" for o in failed[:SHOWN]]
    lines += [f"  ... and {len(failed) - SHOWN} more"] * (len(failed) > SHOWN)
    lines += [f"  {o.id}: note: {o.notes}" for o in outcomes if o.notes][:SHOWN]
    return "\n".join(lines)
