"""Domain errors. Each carries a code; the one table below says what a code means on the wire.

Doors (the dialects, the websocket, commands) shape the envelope; nothing else in the code names a status.
"""

from typing import Any

STATUS: dict[str, int] = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "too_large": 413,
    "limited": 429,
    "cancelled": 499,
    "internal": 500,
    "unsupported": 501,
    "unavailable": 503,
    "busy": 503,
    "no_space": 507,
}


class Problem(Exception):
    """What went wrong, as a sentence for the caller.

    `code` is a key of STATUS. `status` overrides the table for the few texts whose status the wire
    contract fixes otherwise (an unreadable option is a 500 there). `retry_after` is in seconds.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS[code]
        self.retry_after = retry_after

    def as_data(self) -> dict[str, Any]:
        """The payload of an error frame."""
        return {"code": self.code, "message": self.message, "status": self.status}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Problem":
        code = data.get("code", "internal")
        return cls(code if code in STATUS else "internal", str(data.get("message", "")), status=data.get("status"))
