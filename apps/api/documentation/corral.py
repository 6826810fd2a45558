"""Corral's own REST: people, keys, groups, runs, jobs, grants, usage, audit."""

from collections.abc import Mapping
from typing import Any, Final

from apps.api.documentation.operations import JSON, Operation
from apps.api.documentation.shapes import (
    Shape,
    a_list,
    flag,
    mapping,
    moment,
    nullable,
    record,
    ref,
    text,
    whole,
    words,
)

TAG: Final = "Corral"
ERRORS: Final = (400, 404, 409, 415, 503)
SCOPES: Final = a_list(words("infer", "models", "admin"))

_name = text(maxLength=80, minLength=1)
_times = {"created_at": moment(), "ended_at": nullable(moment())}
SCHEMAS: Final[dict[str, Shape]] = {
    "User": record(
        "name", name=text(), email=text(), active=flag(), admin=flag(), date_joined=moment(),
        last_login=nullable(moment()),
    ),
    "Key": record(
        "id name prefix", id=whole(), user=text(), name=text(), prefix=text(), scopes=SCOPES, created_at=moment(),
        expires_at=nullable(moment()), last_used_at=nullable(moment()), revoked_at=nullable(moment()),
    ),
    "ClientKey": record(
        "id", id=whole(), name=text(), fingerprint=text(), created_at=moment(), last_used_at=nullable(moment())
    ),
    "Member": record("user role", user=text(), role=words("member", "owner"), since=moment()),
    "Group": record("name members", name=text(), created_at=moment(), members=a_list(ref("Member"))),
    "Run": record(
        "id state", id=text(format="uuid"), stream=text("Its event log."), user=text(), model=text(), kind=text(),
        state=text(), position=nullable(whole("While it waits.")), outcome=text(), error=text(), attempt=whole(),
        request_id=text(), prompt_tokens=whole(), cached_tokens=whole(), output_tokens=whole(),
        started_at=nullable(moment()), **_times,
    ),
    "Job": record(
        "id state", id=text(format="uuid"), stream=text(), kind=text(), state=text(), error=text(), **_times
    ),
    "Grant": record(user=nullable(text()), group=nullable(text()), created_at=moment()),
}  # fmt: skip
GRANT: Final = record(
    "model",
    "Either a user or a group.",
    model=text(maxLength=600, minLength=1),
    user=nullable(_name),
    group=nullable(_name),
)


def _listed(name: str, item: str) -> dict[int, dict[str, Shape]]:
    return {200: {JSON: record(name, **{name: a_list(ref(item))})}}


def _one(shape: Shape, status: int = 200) -> dict[int, dict[str, Shape]]:
    return {status: {JSON: shape}}


def _operation(
    summary: str,
    replies: Mapping[int, Mapping[str, Shape]],
    *,
    body: Shape | None = None,
    example: Any = None,
    query: Mapping[str, Shape] | None = None,
    **parts: str,
) -> Operation:
    return Operation(
        summary, TAG, body=body, example=example, replies=replies, errors=ERRORS, query=query or {}, parts=parts
    )


GONE: Final[dict[int, dict[str, Shape]]] = {204: {}}
_password = nullable(text("Made here, and told in the reply, when absent.", maxLength=200))

OPERATIONS: Final[dict[str, Operation]] = {
    "GET /api/corral/me": _operation(
        "Who I am, my groups and what I may do",
        _one(record(
            "user scopes", user=ref("User"), groups=a_list(record(name=text(), role=text())), signed_in_by=text(),
            scopes=SCOPES,
        )),
    ),
    "GET /api/corral/keys": _operation(
        "My API keys", _listed("keys", "Key"), query={"user": text("Another's, for an admin.")}
    ),
    "POST /api/corral/keys": _operation(
        "Issue a key; the secret is in this reply and nowhere else",
        _one({"allOf": [ref("Key"), record("secret", secret=text())]}, 201),
        body=record("name", name=text(maxLength=100, minLength=1), scopes=SCOPES, expires_at=nullable(moment())),
        example={"name": "laptop", "scopes": ["infer"]},
    ),
    "DELETE /api/corral/keys/{pk}": _operation("Revoke a key", GONE, pk="Its id."),
    "GET /api/corral/client-keys": _operation("My Ollama clients' keys", _listed("client_keys", "ClientKey")),
    "POST /api/corral/client-keys": _operation(
        "Register an Ollama client's public key", _one(ref("ClientKey"), 201),
        body=record("public_key", public_key=text("A line of ~/.ollama/id_ed25519.pub."), name=text(maxLength=100)),
    ),
    "DELETE /api/corral/client-keys/{pk}": _operation("Forget a client's key", GONE, pk="Its id."),
    "GET /api/corral/users": _operation("Everybody, for admins", _listed("users", "User")),
    "POST /api/corral/users": _operation(
        "Make a user", _one({"allOf": [ref("User"), record(password=text())]}, 201),
        body=record("name", name=_name, password=_password, email=text(), admin=flag()), example={"name": "bob"},
    ),
    "GET /api/corral/users/{name}": _operation("One user", _one(ref("User")), name="The user's name."),
    "PATCH /api/corral/users/{name}": _operation(
        "Disable a user, or make an admin", _one(ref("User")), body=record(active=flag(), admin=flag()),
        example={"active": False}, name="The user's name.",
    ),
    "POST /api/corral/users/{name}/password": _operation(
        "Set a new password", _one(record(password=text())), body=record(password=_password), name="The user's name."
    ),
    "GET /api/corral/groups": _operation("My groups; all of them for an admin", _listed("groups", "Group")),
    "POST /api/corral/groups": _operation(
        "Make a group", _one(ref("Group"), 201), body=record("name", name=_name, owner=nullable(_name)),
        example={"name": "herd", "owner": "alice"},
    ),
    "GET /api/corral/groups/{name}": _operation("One group", _one(ref("Group")), name="The group's name."),
    "DELETE /api/corral/groups/{name}": _operation("Dissolve a group", GONE, name="The group's name."),
    "PUT /api/corral/groups/{name}/members/{user}": _operation(
        "Take somebody in, or change a role", _one(ref("Member")), body=record(role=words("member", "owner")),
        example={"role": "member"}, name="The group's name.", user="The user's name.",
    ),
    "DELETE /api/corral/groups/{name}/members/{user}": _operation(
        "Take somebody out, or leave", GONE, name="The group's name.", user="The user's name."
    ),
    "GET /api/corral/runs": _operation(
        "My runs, newest first; everybody's for an admin", _listed("runs", "Run"), query={"state": words("open")}
    ),
    "GET /api/corral/runs/{run_id}": _operation("One run", _one(ref("Run")), run_id="Its id."),
    "DELETE /api/corral/runs/{run_id}": _operation("Cancel a run", GONE, run_id="Its id."),
    "GET /api/corral/jobs": _operation("My jobs, newest first", _listed("jobs", "Job")),
    "GET /api/corral/jobs/{job_id}": _operation("One job", _one(ref("Job")), job_id="Its id."),
    "DELETE /api/corral/jobs/{job_id}": _operation("Cancel a job", GONE, job_id="Its id."),
    "GET /api/corral/grants": _operation(
        "Who else may use a model of mine",
        _one(record("model grants", model=text(), published=flag(), grants=a_list(ref("Grant")))),
        query={"model": text()},
    ),
    "POST /api/corral/grants": _operation(
        "Let a user or a group use a model of mine", _one(ref("Grant"), 201), body=GRANT,
        example={"model": "mario", "group": "herd"},
    ),
    "DELETE /api/corral/grants": _operation(
        "Take a grant back", GONE, body=GRANT, example={"model": "mario", "user": "bob"}
    ),
    "POST /api/corral/publish": _operation(
        "Let everybody use a model, or no longer", _one(record("model published", model=text(), published=flag())),
        body=record("model", model=text(maxLength=600, minLength=1), published=flag()), example={"model": "mario"},
    ),
    "GET /api/corral/usage": _operation(
        "Tokens and runs by model", _one(record("usage", usage=a_list(mapping()))),
        query={"days": whole(minimum=1, maximum=3660), "everybody": words("1", "true")},
    ),
    "GET /api/corral/audit": _operation(
        "Who did what, newest first, for admins",
        _one(record("entries", entries=a_list(mapping()), next=nullable(whole()))),
        query={"before": whole(minimum=1), "limit": whole(minimum=1, maximum=500), "actor": text(), "action": text()},
    ),
}  # fmt: skip
