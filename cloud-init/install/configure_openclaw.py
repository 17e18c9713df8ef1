"""Bring our settings into OpenClaw's configuration without losing the customer's.

`configure_openclaw.py OPENCLAW` (the program), run as the gateway's own user. Standard input:
{"always": …, "first": …}; "always" is ours at any time, "first" is what a new assistant starts
with. The customer may change everything else in OpenClaw's own pages, and those changes stay. What
we set last time is kept in managed.json, so that a setting we no longer have is taken out again.
OpenClaw checks the result before it is put in place: it doesn't start with one that it refuses.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["HOME"])
CONFIG = HOME / ".openclaw" / "openclaw.json"
MANAGED = HOME / "managed.json"


def main() -> None:
    """Write the configuration if it has to change; a line for each thing done."""
    openclaw = Path(sys.argv[1]).resolve()
    wanted = json.loads(sys.stdin.read())
    remembered = _read(MANAGED)
    current = _read(CONFIG)
    start = wanted["first"] if not CONFIG.exists() else current
    merged = merge(without(start, remembered.get("always", {}), wanted["always"]), wanted["always"])
    managed = {**remembered, "always": wanted["always"], "checked_by": str(openclaw)}
    if merged == current and managed == remembered:
        return
    CONFIG.parent.mkdir(mode=0o700, exist_ok=True)
    candidate = CONFIG.with_suffix(".candidate")
    _write(candidate, merged)
    _check(openclaw, candidate)
    if merged == current:
        candidate.unlink()
    else:
        candidate.rename(CONFIG)
        managed["written_at"] = time.time_ns()  # so that the gateway is restarted for it
        print(f"wrote {CONFIG}")
    _write(MANAGED, managed)


def merge(base: Any, ours: Any) -> Any:
    """`base` with every value of `ours` in it; objects are merged, anything else is replaced."""
    if not (isinstance(base, dict) and isinstance(ours, dict)):
        return ours
    return {**base, **{key: merge(base.get(key), value) for key, value in ours.items()}}


def without(config: Any, before: Any, now: Any) -> Any:
    """`config` less the values of `before` that `now` lacks, unless somebody has changed them."""
    if not (isinstance(config, dict) and isinstance(before, dict)):
        return config
    kept = {}
    for key, value in config.items():
        if key in before and not (isinstance(now, dict) and key in now):
            if value == before[key]:
                continue
            value = without(value, before[key], {})
        elif key in before:
            value = without(value, before[key], now[key])
        kept[key] = value
    return kept


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        sys.exit(f"{path} is not JSON (line {error.lineno}): mend it or move it away")
    if not isinstance(content, dict):
        sys.exit(f"{path} does not hold an object: mend it or move it away")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    """Atomically, mode 0600 (the caller's umask may be anything)."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.rename(path)


def _check(openclaw: Path, candidate: Path) -> None:
    """Let OpenClaw read the file; it has no command to check one, but every command does."""
    done = subprocess.run(
        [openclaw, "config", "get", "gateway.mode"],
        env={**os.environ, "OPENCLAW_CONFIG_PATH": str(candidate), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        problems = [line.strip() for line in lines if line.strip().startswith("- ")]
        sys.exit(f"OpenClaw refuses it: {' '.join(problems) or ' '.join(lines)}")


if __name__ == "__main__":
    main()
