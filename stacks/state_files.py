"""What an engine that was killed while it wrote leaves in a folder of state files, removed.

The engine writes FILE by way of FILE.*.tmp, so FILE is always whole; but FILE.attrs beside it is
written in place, and no file is read whose attributes can't be parsed: the stack would be lost to
every command. Without attributes it is read. What stays of a lock half written would lock for ever.
"""

import json
from pathlib import Path


def mend(folder: Path, project: str, stack: str) -> None:
    """Mend one stack's files; `folder` is a file backend's. No engine of the stack may run."""
    kept = folder / ".pulumi"
    lock_folder = kept / "locks" / "organization" / project / stack
    found = [
        *(kept / "stacks" / project).glob(f"{stack}.json.*"),
        *(kept / "history" / project / stack).glob("*"),
        *(kept / "backups" / project / stack).glob("*"),
        *lock_folder.glob("*"),
    ]
    for file in found:
        checked = file.suffix == ".attrs" or file.parent == lock_folder
        if file.suffix == ".tmp" or (checked and not _is_json(file)):
            file.unlink(missing_ok=True)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True
