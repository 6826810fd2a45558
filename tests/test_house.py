"""The house itself: which room may know which, what no file may be called, and the trap under `platform/`."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for path in sorted((ROOT / "apps").rglob("*.py")) if "migrations" not in path.parts]

# Whom a room may import, besides itself. Downwards only, and no door knows another.
LEAVES = {"errors", "compiled", "audit", "streams"}
PICTURE = {
    "errors": set(),
    "compiled": set(),
    "audit": {"errors"},
    "streams": {"errors"},
    "accounts": LEAVES,
    "usage": LEAVES | {"accounts"},
    "registry": LEAVES | {"accounts", "usage"},
    "inference": LEAVES | {"accounts", "usage", "registry"},
    "api": LEAVES | {"accounts", "usage", "registry", "inference"},
}
DIALECTS = {"ollama", "openai", "anthropic", "corral"}
PURE = ["inference/engine", "inference/prompt", "inference/parsing", "inference/types.py", "registry/conversion"]
PURE += [f"registry/{name}.py" for name in ("names", "digests", "modelfile", "gguf", "manifest", "capabilities")]
PURE += [f"registry/{name}.py" for name in ("adapters", "confinement", "quantizer")]
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "misc", "core", "base", "manager", "managers", "services"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path: Path) -> Iterator[str]:
    """What a file imports, also by a string."""
    yield from imports(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def room(path: Path) -> str:
    return path.relative_to(ROOT / "apps").parts[0].removesuffix(".py")


@pytest.mark.parametrize("name", sorted(PICTURE))
def test_a_room_imports_downwards_only(name: str) -> None:
    for path in (path for path in SOURCES if room(path) == name):
        known = {module.split(".")[1] for module in imports(path) if module.startswith("apps.")}
        assert known <= PICTURE[name] | {name}, f"{path} must not know {known - PICTURE[name] - {name}}"


def test_every_room_is_in_the_picture() -> None:
    assert {room(path) for path in SOURCES} - {"__init__"} == set(PICTURE)


def test_no_app_imports_the_project() -> None:
    for path in SOURCES:
        assert not [module for module in imports(path) if module.split(".")[0] == "corral"], path


def test_no_dialect_knows_another() -> None:
    for path in SOURCES:
        if room(path) == "api" and (dialect := path.relative_to(ROOT / "apps" / "api").parts[0]) in DIALECTS:
            known = {module.split(".")[2] for module in imports(path) if module.startswith("apps.api.")}
            assert not known & (DIALECTS - {dialect}), path


@pytest.mark.parametrize("where", PURE)
def test_what_is_pure_knows_no_django(where: str) -> None:
    target = ROOT / "apps" / where
    for path in [target] if target.is_file() else sorted(target.rglob("*.py")):
        assert not [module for module in imports(path) if module.split(".")[0] in {"django", "celery"}], path


def test_llama_cpp_is_imported_by_the_engine_and_by_the_quantiser_s_own_process() -> None:
    touching = {path.relative_to(ROOT) for path in SOURCES for name in named(path) if name.split(".")[0] == "llama_cpp"}
    assert touching == {Path("apps/inference/engine/lib.py"), Path("apps/registry/quantizer.py")}


def test_no_module_has_a_name_that_says_nothing() -> None:
    files = [*SOURCES, *(ROOT / "platform").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert not [path for path in files if {path.stem, path.parent.name} & NAMES_THAT_SAY_NOTHING]


def test_platform_is_a_folder_and_shadows_nothing() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    check = "import platform, uuid; assert platform.system(); print(platform.__file__)"
    said = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert str(ROOT / "platform") not in said


def test_apps_is_a_package_of_its_own() -> None:
    assert (ROOT / "apps" / "__init__.py").read_text(encoding="utf-8") == ""
