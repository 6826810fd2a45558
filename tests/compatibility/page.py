"""The table in docs/compatibility.md: every check, the tests that carry it, and whether it is served.

`python -m tests.compatibility.page RESULTS` writes it from what plugin.py has recorded, and only if all of it passed.
The page around the table is written by hand.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.api.ollama import checks
from tests.compatibility.words import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN = "<!-- Between these marks, `make compatibility` writes. -->\n"
END = "<!-- Until here. -->\n"

Carried = Mapping[int, Iterable[str]]


def carried() -> dict[int, list[str]]:
    """The tests marked with each check, as `dialect/file.py::test`."""
    found: dict[int, list[str]] = {}
    for module in checks.carriers():
        file = "/".join(module.__name__.split(".")[2:]) + ".py"
        for name, test in vars(module).items():
            for number in getattr(test, "checks", ()) if name.startswith("test_") else ():
                found.setdefault(number, []).append(f"{file}::{name}")
    return found


def table(by_number: Carried) -> str:
    return "\n".join(_section(title, lines, by_number) for title, lines in SECTIONS.items())


def _section(title: str, lines: Mapping[int, str], by_number: Carried) -> str:
    rows = (_row(number, line, sorted(by_number.get(number, ()))) for number, line in lines.items())
    return "\n".join((f"### {title}\n", "| # | what is checked | tests | |", "|---|---|---|---|", *rows, ""))


def _row(number: int, line: str, tests: list[str]) -> str:
    state = "served" if tests else f"later, with {checks.LATER.get(number, 'nothing that is known')}"
    return f"| {number} | {line} | {'<br>'.join(f'`{test}`' for test in tests)} | {state} |"


def with_table(page: str, made: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main(results: Path) -> None:
    """Ends the process with the names of tests that do not hold what they are marked with."""
    recorded = json.loads(results.read_text(encoding="utf-8"))
    if broken := sorted(test for test, what in recorded.items() if what["outcome"] != "passed"):
        sys.exit("These did not pass, so the page stays as it is:\n  " + "\n  ".join(broken))
    found: dict[int, list[str]] = {}
    for test, what in recorded.items():
        for number in what["checks"]:
            found.setdefault(number, []).append(test)
    if unproved := sorted(set(checks.ALL) - set(found) - set(checks.LATER)):
        sys.exit(f"No test was run for {unproved}, so the page stays as it is.")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(found)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
