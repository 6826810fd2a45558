"""What the documents list is what the code has."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from corral import env

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r"^\| `([A-Z_]+)` \| (?:`([A-Z_]+)` )?\| (?:(.*?) )?\| .+ \|$", re.MULTILINE)
DEFAULTS_IN_WORDS = {
    "CORRAL_DATA": "`~/.local/share/corral`, as root `/var/lib/corral`",
    "CORRAL_SECRET_KEY": "generated, in `secrets.json`",
    "CORRAL_WORKER_NAME": "the host's name",
}


def known() -> dict[str, env.Known]:
    """What settings.py asks for, in a process where nobody else has asked for anything."""
    script = (
        "import json, corral.settings; from corral import env;"
        "print(json.dumps([[k.name, k.default, k.alias] for k in env.KNOWN.values()]))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=bare()).stdout
    return {name: env.Known(name, default, alias) for name, default, alias in json.loads(said)}


def bare() -> dict[str, str]:
    ours = {"CORRAL_DATA": os.environ["CORRAL_DATA"]}
    theirs = ("CORRAL_", "OLLAMA_", "DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | ours


def shown(default: object) -> str:
    if default == "":
        return ""
    return f"`{int(default)}`" if isinstance(default, bool | int) else f"`{default}`"


def test_every_setting_is_listed_with_its_alias_and_default() -> None:
    rows = ROW.findall((ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))
    listed = {name: (alias or None, default.strip()) for name, alias, default in rows}
    wanted = {
        name: (setting.alias, DEFAULTS_IN_WORDS.get(name, shown(setting.default))) for name, setting in known().items()
    }
    assert listed == wanted


def test_every_dependency_is_listed_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = [re.split(r"[\[<>=]", line)[0] for line in wanted]
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| .+ \|$", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(names)


def test_links_between_documents_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name} points at {target}"


def test_make_lists_what_it_can_do() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  make (\S+)", said, re.MULTILINE))
    assert listed == {"help", "setup", "run", "test", "slow", "check", "lock", "compatibility", "bench", "clean"}


def test_what_runs_is_locked_alike_for_running_and_for_developing() -> None:
    run, develop = (
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert len(run) > 30 and run.items() <= develop.items()
    assert {"packaging", "async-timeout"} <= run.keys()  # wanted by Celery's Redis transport, and by redis on Debian 12
