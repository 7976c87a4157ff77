"""What a job refuses to run with, and whether the cluster that it joins is open to anyone.

Whoever may talk to a Ray cluster may run code on all of it. Ray 2.60 binds its ports to every interface, also
where the address of the head is the loopback one, so that a token is the only lock it has;
`docs/security.md` holds the threat model.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from asr_ray.errors import EnvironmentFault

UNSAFE_OPT_INS: Mapping[str, str] = {
    "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA": "runs code from the schema of a Parquet file",
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR": "runs code from a column of a Parquet file",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION": "runs code from a tar of speech",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "runs code from a checkpoint",
}
"""Variable -> what it allows when it is set; none of them is needed here."""


class Floor(NamedTuple):
    """The first version in which a hole was closed."""

    version: str
    advisory: str


FLOORS: Mapping[str, Floor] = {
    "ray": Floor("2.56.0", "CVE-2026-41486, CVE-2026-57516"),
    "nemo-toolkit": Floor("3.0.0", "CVE-2026-24239, CVE-2026-65111"),
    "torch": Floor("2.6.0", "CVE-2025-32434"),
    "pyarrow": Floor("14.0.1", "CVE-2023-47248"),
    "datasets": Floor("5.2.0", "CVE-2026-57845"),
}

_OFF = frozenset({"", "0", "false", "no", "off"})
_TIMEOUT_S = 15.0


class Door(Enum):
    """What the head of a cluster answers."""

    OPEN = "open"
    LOCKED = "locked"
    ABSENT = "absent"


def unsafe_opt_ins(environ: Mapping[str, str]) -> list[str]:
    """Return the variables of `UNSAFE_OPT_INS` that are on."""
    return [name for name in UNSAFE_OPT_INS if environ.get(name, "").strip().lower() not in _OFF]


def below_floor(versions: Mapping[str, str]) -> dict[str, Floor]:
    """Return the packages of `versions` that lack a security fix; absent ones lack nothing."""
    return {
        name: floor
        for name, floor in FLOORS.items()
        if name in versions and release_of(versions[name]) < release_of(floor.version)
    }


def release_of(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: 2.13.0+cpu -> (2, 13, 0); what follows the numbers does not count."""
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise EnvironmentFault if this process would run code from data, or has a known hole.

    Costs milliseconds: versions are read from the installed metadata and nothing is imported.
    """
    unsafe = unsafe_opt_ins(environ)
    if unsafe:
        reasons = "; ".join(f"{name} {UNSAFE_OPT_INS[name]}" for name in unsafe)
        raise EnvironmentFault(f"refused: {reasons}", fix=f"unset {' '.join(unsafe)}")
    old = below_floor(installed_versions(FLOORS))
    if old:
        reasons = "; ".join(
            f"{name} is below {floor.version} ({floor.advisory})" for name, floor in old.items()
        )
        raise EnvironmentFault(f"refused: {reasons}", fix="pip install --upgrade -c constraints.txt asr-ray")


def installed_versions(names: Mapping[str, object]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_token(environ: Mapping[str, str]) -> str | None:
    """Return the token that Ray would find: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token."""
    if environ.get("RAY_AUTH_TOKEN"):
        return environ["RAY_AUTH_TOKEN"]
    path = environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    return file.read_text(encoding="utf-8").strip() or None if file.is_file() else None


def joining_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what to add to the environment before Ray is imported to join a cluster.

    Ray 2.60 shows its token to an address that was named only if the mode was named as well.
    """
    return {"RAY_AUTH_MODE": "token"} if "RAY_AUTH_MODE" not in environ and read_token(environ) else {}


def knock(address: str, *, token: str | None = None, timeout_s: float = _TIMEOUT_S) -> Door:
    """Ask the head at `address` (host:port) whether it is alive.

    Milliseconds where somebody answers, where `ray.init` tries for twenty seconds and more. The name of
    the call is Ray's internal one; the tests hold it against a real head.

    Args:
        token: shown to the head; None asks as a stranger would.
        timeout_s: how long the head may take to appear.
    """
    import grpc

    metadata = [("authorization", f"Bearer {token}")] if token else []
    # Ray does not go through proxies either.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check_alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            check_alive(b"", timeout=timeout_s, wait_for_ready=True, metadata=metadata)
        except grpc.RpcError as error:
            refusals = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            return Door.LOCKED if error.code() in refusals else Door.ABSENT
    return Door.OPEN


def open_cluster_warning(address: str) -> str:
    """Return the framed text for a cluster that asks nobody for a token."""
    lines = (
        f"THIS RAY CLUSTER IS OPEN: {address} asks for no token.",
        "Anyone who reaches it over the network can run code on all of its nodes, and read",
        "the speech, the models and the credentials there.",
        "fix: start every node with RAY_AUTH_MODE=token and one token (docs/security.md),",
        "     and let no other machine reach its ports.",
    )
    bar = "!" * (max(map(len, lines)) + 6)
    return "\n".join([bar, *(f"!! {line}" for line in lines), bar])
