"""Commands as the server reads them: hiredis packs in C what the clients' own Python packs many times slower."""

from collections.abc import Sequence
from typing import Any, cast

import hiredis


def pack(command: Sequence[str | int | bytes]) -> bytes:
    return cast(bytes, cast(Any, hiredis.pack_command)(tuple(command)))
