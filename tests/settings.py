"""Corral's own settings under a data folder that lives as long as the run of the tests."""

import atexit
import os
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="corral-test-", dir="/tmp")
os.chmod(_folder, 0o711)
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

for _name in [name for name in os.environ if name.startswith(("CORRAL_", "OLLAMA_"))]:
    del os.environ[_name]
os.environ["CORRAL_DATA"] = _folder

from corral.settings import *  # noqa: E402,F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
