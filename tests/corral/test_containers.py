"""No container engine runs here: the container files are parsed, linted, and held equal to the supervisor."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from corral import house
from corral.embedded import POSTGRES_SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
INSTRUCTIONS = {
    "FROM", "RUN", "COPY", "WORKDIR", "ENV", "ARG", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def test_every_instruction_is_one() -> None:
    assert {name for name, _ in instructions()} <= INSTRUCTIONS
    assert instructions()[0][0] == "FROM"


def test_every_stage_and_every_source_exists() -> None:
    stages: set[str] = set()
    for name, rest in instructions():
        if name == "FROM":
            stages.add(rest.split()[2])
        if name == "COPY":
            words = shlex.split(rest)
            origin = words[0].removeprefix("--from=") if words[0].startswith("--from=") else None
            assert origin is None or origin in stages, rest
            assert origin or all((ROOT / source).exists() for source in words[:-1]), rest
    assert stages >= {"cpu", "cuda"}


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_what_runs_is_nobodys_root_and_says_its_health(stage: str) -> None:
    names = instructions()
    begin = next(i for i, (name, rest) in enumerate(names) if name == "FROM" and rest.endswith(f" AS {stage}"))
    end = next((i for i in range(begin + 1, len(names)) if names[i][0] == "FROM"), len(names))
    said = dict(names[begin:end])
    assert said["USER"] == "corral"
    assert "/readyz" in said["HEALTHCHECK"]
    assert said["CMD"] == '["python", "manage.py", "up"]'


def test_the_services_are_the_supervisors_processes(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in house.SERVICES:
        assert services[name]["command"] == ["python", "manage.py", "serve", name]
    for name in ("bootstrap", "starter"):
        assert services[name]["command"] == ["python", "manage.py", *house.management(name).command[2:]]
    assert services["inference-gpu"]["command"] == services["inference"]["command"]
    assert set(services) == {*house.SERVICES, "inference-gpu", "bootstrap", "starter", "postgres", "valkey"}


def test_every_service_says_its_health_or_why_not(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name not in {"web", "bootstrap", "starter"}:  # the image's own; two that end
            assert "test" in service["healthcheck"], name


def test_what_a_service_waits_for_exists_and_can_be_waited_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for other, wait in service.get("depends_on", {}).items():
            assert wait["condition"] in {"service_healthy", "service_completed_successfully"}
            assert other in services


def test_the_gpu_is_reserved_by_profile(compose: dict[str, Any]) -> None:
    gpu = compose["services"]["inference-gpu"]
    assert gpu["profiles"] == ["gpu"] and gpu["build"]["target"] == "cuda"
    device = gpu["deploy"]["resources"]["reservations"]["devices"][0]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def test_every_volume_that_is_mounted_is_declared(compose: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])
    }
    assert mounted == set(compose["volumes"])


def test_the_embedded_postgres_and_the_service_hide_the_same(compose: dict[str, Any]) -> None:
    said = {word for word in compose["services"]["postgres"]["command"] if word.startswith("log_")}
    assert said == {
        f"{name}={POSTGRES_SETTINGS[name]}"
        for name in ("log_min_messages", "log_min_error_statement", "log_error_verbosity")
    }
