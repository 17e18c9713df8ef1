"""No server is replaced, deleted or made anew by surprise."""

from stacks.errors import NeedsApproval
from stacks.events import SERVER_TYPE, Recorder

FATES = {
    "create": "made anew (it is gone)",
    "delete": "deleted",
    "replace": "replaced",
    "create-replacement": "replaced",
    "delete-replaced": "replaced",
}


def check(stack: str, server_id: str, plan: Recorder) -> None:
    """Raise NeedsApproval if `plan`, a preview, ends or re-creates the server that should run."""
    threats = [c for c in plan.changes if c.type == SERVER_TYPE and c.op in FATES]
    if not threats:
        return
    because = ", ".join(sorted({p.path for c in threats for p in c.properties}))
    raise NeedsApproval(
        f"the server of {stack} ({server_id}) would be {FATES[threats[0].op]}"
        + (f" because of {because}" if because else ""),
        f"look at `python -m stacks preview {stack} --refresh`; if that is meant: "
        f"python -m stacks up {stack} --refresh --approve-server-change {stack}",
    )
