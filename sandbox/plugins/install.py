"""Writes the executables by which the engine finds the stand-in plugins and the language host."""

import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

VERSIONS = {name: version(f"pulumi-{name}") for name in ("hcloud", "cloudflare", "command")}
"""The official plugins' versions, which are those of the installed SDK packages."""

SHIM = """#!/bin/sh
# Clawdet's stand-in for {what}: runs the checkout it was installed from.
PYTHONPATH={checkout}${{PYTHONPATH:+:$PYTHONPATH}} exec {python} -m {module} "$@"
"""


def install(home: Path, checkout: Path = CHECKOUT, python: str = sys.executable) -> list[Path]:
    """Write the three plugins and `bin/pulumi-language-python` under a PULUMI_HOME.

    Each file appears whole or not at all, and is written again when it is there already; an
    official plugin in its place stays. The engine finds the plugins by PULUMI_HOME and the
    language host by PATH, which must hold PULUMI_HOME/bin. Returns the files.
    """
    paths = []
    for name, wanted in VERSIONS.items():
        folder = home / "plugins" / f"resource-{name}-v{wanted}"
        path = folder / f"pulumi-resource-{name}"
        _write(path, _shim(f"the {name} plugin", f"sandbox.plugins.{name}", checkout, python))
        paths.append(path)
    language = home / "bin" / "pulumi-language-python"
    what = "Pulumi's Python language host"
    _write(language, _shim(what, "sandbox.plugins.language", checkout, python))
    return [*paths, language]


def _shim(what: str, module: str, checkout: Path, python: str) -> str:
    return SHIM.format(
        what=what, module=module, checkout=shlex.quote(str(checkout)), python=shlex.quote(python)
    )


def _is_official(path: Path) -> bool:
    """Official plugins are binaries; ours are scripts."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(2) != b"#!"


def _write(path: Path, text: str) -> None:
    if _is_official(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o755)
    temporary.replace(path)
