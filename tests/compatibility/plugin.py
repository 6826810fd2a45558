"""For `pytest -p tests.compatibility.plugin --compatibility=FILE`: what became of each test that carries a check."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest


class Recorder:
    """`results` by test, as page.py names them: its checks, and the worst outcome of all its parameters and phases."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.results: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if numbers := getattr(getattr(item, "function", None), "checks", ()):
            self._add("/".join(item.nodeid.partition("[")[0].split("/")[2:]), numbers, report)
        return report

    def _add(self, name: str, numbers: tuple[int, ...], report: pytest.TestReport) -> None:
        kept = self.results.setdefault(name, {"checks": numbers, "outcome": "passed"})
        if kept["outcome"] == "passed":
            kept["outcome"] = "expected to fail" if hasattr(report, "wasxfail") else report.outcome

    def pytest_sessionfinish(self) -> None:
        self.file.write_text(json.dumps(self.results, indent=1, sort_keys=True), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compatibility", metavar="FILE", help="write what became of the tests that carry checks")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--compatibility"):
        config.pluginmanager.register(Recorder(Path(file)))
