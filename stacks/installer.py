"""`python -m stacks.installer ROOT VERSION`: the official Pulumi installer, through the Automation
API, in a process of its own because the API bounds neither its download nor its script in time."""

import subprocess
import sys
from urllib.error import URLError

from pulumi.automation import PulumiCommand
from semver import VersionInfo


def main(root: str, version: str) -> None:
    """Install the engine to ROOT/bin; ends with one line on stderr and exit code 1 if it can't."""
    try:
        PulumiCommand.install(root=root, version=VersionInfo.parse(version))
    except subprocess.CalledProcessError as exc:
        said = (exc.output or b"").decode(errors="replace").strip()
        sys.exit(said or f"the installer ended with exit code {exc.returncode}")
    except (URLError, OSError) as exc:
        sys.exit(f"the installer could not be fetched: {exc}")


if __name__ == "__main__":
    main(*sys.argv[1:])
