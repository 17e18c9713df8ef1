"""The plugins' command line.

python -m sandbox.plugins install --home PULUMI_HOME   write the executables the engine looks for
python -m sandbox.plugins serve NAME|all               serve, for PULUMI_DEBUG_PROVIDERS
"""

import argparse
from pathlib import Path

from sandbox.plugins import install, serve


def main() -> None:
    """Parse the command and run it."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.plugins", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="write the executables into a PULUMI_HOME")
    installing.add_argument("--home", type=Path, required=True, help="the PULUMI_HOME")
    serving = commands.add_parser("serve", help="serve until SIGTERM or SIGINT")
    serving.add_argument("name", choices=[*serve.NAMES, "all"])
    chosen = parser.parse_args()
    if chosen.command == "install":
        for path in install.install(chosen.home):
            print(path)
    elif chosen.name == "all":
        serve.serve_all()
    else:
        serve.serve_one(chosen.name)


if __name__ == "__main__":
    main()
