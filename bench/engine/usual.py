"""The usual Automation API example, as the tutorials have it: what ours is compared with.

Run as a process per operation: python -m bench.engine.usual OPERATION STACK
"""

import os
import sys

from pulumi import automation as auto

from infra.program import program


def main() -> None:
    """Select the stack and run one operation on it."""
    operation, name = sys.argv[1:]
    stack = auto.create_or_select_stack(
        stack_name=name,
        project_name="clawdet",
        program=program,
        opts=auto.LocalWorkspaceOptions(work_dir=os.environ["CLAWDET_PROJECT"]),
    )
    match operation:
        case "preview":
            stack.preview(on_output=print)
        case "up" | "no-op up":
            stack.up(on_output=print)
        case "drift":
            stack.preview_refresh(on_output=print)
        case "destroy":
            stack.destroy(on_output=print)


if __name__ == "__main__":
    main()
