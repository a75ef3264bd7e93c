"""Write the table of ci/pages/what_went_wrong.md: what happens when ...; ``--check`` only compares.

Rows come from tests/faults/fault_rows.py. A test shows the rows that its mark ``@pytest.mark.row(1, 2)`` names.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = "ci/pages/what_went_wrong.md"
BEGIN, END = "<!-- rows: ci/faults_table.py writes this table -->", "<!-- end of rows -->"
sys.path.insert(0, str(ROOT / "tests/faults"))

from fault_rows import ROWS  # noqa: E402


def find_tests(root: Path = ROOT) -> dict[int, list[str]]:
    """Row -> tests that show it, as ``path::name``; the tests are parsed, not imported."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.row":
                    for argument in mark.args:
                        found[ast.literal_eval(argument)].append(f"{path.relative_to(root).as_posix()}::{node.name}")
    return found


def table(root: Path = ROOT) -> str:
    """The table in Markdown.

    Raises:
        SystemExit: a row has no test, or a test names an unknown row.
    """
    tests = find_tests(root)
    missing = [row.number for row in ROWS if row.number not in tests]
    unknown = sorted(set(tests) - {row.number for row in ROWS})
    if missing or unknown:
        raise SystemExit(f"rows without a test: {missing}; tests of unknown rows: {unknown}")
    up = "../" * PAGE.count("/")
    lines = ["| when | answer | exit code | shown by |", "|---|---|---|---|"]
    for row in ROWS:
        files = list(dict.fromkeys(test.split("::")[0] for test in tests[row.number]))
        links = ", ".join(f"[{Path(file).stem.removeprefix('test_')}]({up}{file})" for file in files)
        lines.append(f"| {row.when} | {row.answer} | {row.code} | {links} |")
    return "\n".join(lines)


def main() -> int:
    """Write or compare; 1 if the page is not up to date."""
    page = ROOT / PAGE
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest or not tail:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}")
    wanted = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--check" in sys.argv:
        if wanted != text:
            print(f"the table of {PAGE} is not up to date: python ci/faults_table.py")
        return int(wanted != text)
    page.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
