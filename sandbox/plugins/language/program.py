"""The program of a Pulumi project, as a callable."""

import os
import runpy
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from pulumi import RunError

MASK = "[secret]"


@dataclass(frozen=True)
class Program:
    """`root` holds Pulumi.yaml, `directory` is its `main`; `secrets` are hidden in errors.

    A directory that is a package runs as one (`python -m infra`), so that its modules have the
    names they have everywhere else; any other as Python runs a directory or file.
    """

    root: Path
    directory: Path
    entry_point: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __call__(self) -> None:
        """Run it in the project's root. Raises RunError with the trace of its own lines."""
        os.chdir(self.root)
        sys.path.insert(0, str(self.root))
        try:
            self._run()
        except RunError:
            raise
        except Exception as error:
            raise RunError(self._describe(error)) from error

    def _run(self) -> None:
        whole = self.entry_point in ("", ".")
        if whole and (self.directory / "__init__.py").exists():
            # As named, not resolved: either may be reached through a symbolic link.
            package = ".".join(self.directory.relative_to(self.root).parts)
            runpy.run_module(package, run_name="__main__", alter_sys=True)
        else:
            target = self.directory if whole else self.directory / self.entry_point
            runpy.run_path(str(target), run_name="__main__")

    def _describe(self, error: Exception) -> str:
        trace = error.__traceback__
        while trace is not None and not self._is_ours(trace):
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace, chain=True)
        text = "".join(lines)
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return f"the program failed:\n{text}"

    def _is_ours(self, trace: TracebackType) -> bool:
        path = Path(trace.tb_frame.f_code.co_filename)
        return path.is_relative_to(self.root) and path != Path(__file__)
