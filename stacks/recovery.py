"""After a crash or a lost answer: what the clouds have and the state doesn't know is adopted.

A create that was under way may or may not have happened. It is looked up by label or comment and
imported; only what the clouds don't have is forgotten.
"""

import json
from typing import Any

from stacks.clouds import Clouds, Leftover
from stacks.errors import OperationFailed
from stacks.events import CERTIFICATE_TYPE, RECORD_TYPE, SERVER_TYPE
from stacks.project import ProjectStack

INSTANCE_TYPE = "clawdet:index:Instance"
PROVIDERS = {SERVER_TYPE: "hetzner", RECORD_TYPE: "cloudflare"}


def find_resource(deployment: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The state's resource of a type (every instance has at most one that matters).

    One that was deleted to be replaced, and was not yet, is as good as none.
    """
    return _find(deployment, kind, pending_replacement=False)


def _find(
    deployment: dict[str, Any], kind: str, pending_replacement: bool
) -> dict[str, Any] | None:
    for resource in deployment.get("resources") or []:
        pending = bool(resource.get("pendingReplacement"))
        if resource["type"] == kind and not resource.get("delete"):
            return dict(resource) if pending == pending_replacement else None
    return None


def needs_recovery(deployment: dict[str, Any], unclean: bool) -> bool:
    """Whether the last operation may have left something behind."""
    begun = any(r["type"] == INSTANCE_TYPE for r in deployment.get("resources") or [])
    return (
        unclean
        or bool(deployment.get("pending_operations"))
        or (begun and find_resource(deployment, SERVER_TYPE) is None)
    )


def recover(stack: ProjectStack, clouds: Clouds) -> list[str]:
    """Bring state and clouds together; what was done, in words. Idempotent.

    Raises OperationFailed when several servers carry the instance's label: a person must choose.
    """
    deployment = stack.deployment()
    said = []
    for kind, found in (
        (SERVER_TYPE, clouds.servers(stack.name)),
        (RECORD_TYPE, clouds.records(stack.name)),
    ):
        known = find_resource(deployment, kind)
        strangers = [item for item in found if known is None or item.id != known.get("id")]
        if strangers:
            said.append(_adopt(stack, deployment, kind, known, strangers))
    said += _revoke_strays(stack, deployment, clouds)
    said += _drop_pending(stack)
    return said


def _adopt(
    stack: ProjectStack,
    deployment: dict[str, Any],
    kind: str,
    known: dict[str, Any] | None,
    found: list[Leftover],
) -> str:
    names = ", ".join(f"{item.kind} {item.id}" for item in found)
    if known is not None or len(found) > 1:
        raise OperationFailed(
            f"{stack.name} should have one {found[0].kind}; also there: {names}",
            "look at them in the cloud's console and delete the wrong ones, then run again",
        )
    item = found[0]
    half_replaced = _find(deployment, kind, pending_replacement=True)
    if half_replaced:
        _finish_replacement(stack, half_replaced["urn"], item.id)
        return f"adopted {item.kind} {item.id}, by which an operation was replacing another"
    name = {SERVER_TYPE: "server", RECORD_TYPE: "record"}[kind]
    identifier = item.id if kind == SERVER_TYPE else f"{_zone(stack)}/{item.id}"
    _import(stack, deployment, kind, name, identifier)
    return f"adopted {item.kind} {item.id}, made by an operation that did not finish"


def _import(
    stack: ProjectStack, deployment: dict[str, Any], kind: str, name: str, identifier: str
) -> None:
    urns = {r["urn"].rsplit("::", 1)[-1]: r["urn"] for r in deployment.get("resources") or []}
    parent = next(
        (r["urn"] for r in deployment.get("resources") or [] if r["type"] == INSTANCE_TYPE), ""
    )
    provider = urns.get(PROVIDERS[kind], "")
    if not (parent and provider):
        raise OperationFailed(
            f"{kind} {identifier} exists, but the state of {stack.name} knows nothing of it",
            "restore the state (python -m stacks import), or delete it in the cloud's console",
        )
    document = {
        "nameTable": {"instance": parent, "provider": provider},
        "resources": [
            {
                "type": kind,
                "name": name,
                "id": identifier,
                "parent": "instance",
                "provider": "provider",
            }
        ],
    }
    file = stack.home / "adopted.json"
    file.write_text(json.dumps(document))
    stack.run(
        "import", "--file", str(file), "--yes", "--skip-preview",
        "--generate-code=false", "--protect=false", "--suppress-outputs",
    )  # fmt: skip
    file.unlink()


def _finish_replacement(stack: ProjectStack, urn: str, identifier: str) -> None:
    """The state keeps a resource that was deleted to be replaced until the new one is there, and
    takes no import beside it: its entry becomes the new one's, and is read afresh."""
    document = stack.export()
    for resource in document["deployment"]["resources"]:
        if resource["urn"] == urn:
            resource["id"] = identifier
            del resource["pendingReplacement"]
    stack.import_(document)
    stack.run("refresh", "--yes", "--skip-preview", "--target", urn)


def _zone(stack: ProjectStack) -> str:
    return str(stack.plain_value("zoneId"))


def _revoke_strays(stack: ProjectStack, deployment: dict[str, Any], clouds: Clouds) -> list[str]:
    """A certificate's private key is ours alone, so one the state doesn't know is of no use."""
    known = find_resource(deployment, CERTIFICATE_TYPE)
    strays = [c for c in clouds.certificates(stack.name) if not known or c.id != known["id"]]
    for stray in strays:
        clouds.revoke(stray.id)
    return [f"revoked certificate {stray.id}, which nothing uses" for stray in strays]


def _drop_pending(stack: ProjectStack) -> list[str]:
    """Forget what was under way: adopted by now, or never done, or idempotent to do again."""
    if not stack.deployment().get("pending_operations"):
        return []
    document = stack.export()
    pending = document["deployment"].pop("pending_operations")
    stack.import_(document)
    names = ", ".join(p["resource"]["urn"].rsplit("::", 1)[-1] for p in pending)
    return [f"cleared what an interrupted operation had begun: {names}"]
