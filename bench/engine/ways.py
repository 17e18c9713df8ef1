"""The ways of running operations on stacks that are compared."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench.engine.model import COMMAND, PLAIN, USUAL
from bench.engine.processes import Tree
from bench.engine.world import BenchError, World
from stacks.settings import CHECKOUT

END_S = 30.0

PLAIN_ARGUMENTS = {
    "preview": ["preview"],
    "up": ["up", "--yes"],
    "no-op up": ["up", "--yes"],
    "drift": ["refresh", "--preview-only"],
    "destroy": ["destroy", "--yes"],
}


class Way(Protocol):
    """One way; `tree` holds every process of it and none of the sandbox's."""

    tree: Tree

    def run(self, operation: str, stacks: Sequence[str]) -> None:
        """The operation on all stacks at once; returns when the last is done, or BenchError."""


class ProcessEach:
    """A process for each operation; `command` makes its arguments of operation and stack."""

    def __init__(
        self, world: World, folder: Path, command: Callable[[str, str], Sequence[str]]
    ) -> None:
        self.tree = Tree()
        self._environment = world.environment
        self._folder = folder
        self._command = command

    def run(self, operation: str, stacks: Sequence[str]) -> None:
        """See `Way`."""
        with tempfile.TemporaryDirectory(prefix="clawdet-bench-log-") as logs:
            files = [Path(logs, stack) for stack in stacks]
            running = [
                self._start(self._command(operation, stack), file)
                for stack, file in zip(stacks, files, strict=True)
            ]
            try:
                codes = [process.wait() for process in running]
            except KeyboardInterrupt:
                self.tree.kill()
                raise
            for code, file in zip(codes, files, strict=True):
                if code:
                    raise BenchError(f"{operation} ended with {code}:\n{file.read_text()[-2000:]}")

    def _start(self, command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who end them
            )
        self.tree.add(process.pid)
        return process


class Facade:
    """`stacks.Stacks` in one warm process (bench.engine.facade)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.tree = Tree()
        self.tree.add(process.pid)
        self._process = process
        if self._answer() != "ready\n":
            raise BenchError("the process of ours did not start")

    def run(self, operation: str, stacks: Sequence[str]) -> None:
        """See `Way`."""
        assert self._process.stdin is not None  # start_facade asks for a pipe
        self._process.stdin.write(json.dumps({"operation": operation, "stacks": stacks}) + "\n")
        self._process.stdin.flush()
        if failed := json.loads(self._answer() or '{"failed": ["the process ended"]}')["failed"]:
            raise BenchError(f"{operation}: " + "\n".join(failed))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def one_process_each(world: World, way: str) -> ProcessEach:
    """The way `plain`, `usual` or `command`."""
    pulumi = shutil.which("pulumi", path=world.environment["PATH"])
    if pulumi is None:
        raise BenchError("`python -m stacks env` leads to no pulumi: run `make setup`")

    def plain(operation: str, stack: str) -> Sequence[str]:
        return [pulumi, *PLAIN_ARGUMENTS[operation], "--stack", stack, "--non-interactive"]

    def usual(operation: str, stack: str) -> Sequence[str]:
        return [sys.executable, "-m", "bench.engine.usual", operation, stack]

    def command(operation: str, stack: str) -> Sequence[str]:
        confirmed = ["--yes", stack] if operation == "destroy" else []
        verb = operation.removeprefix("no-op ")
        return [sys.executable, "-m", "stacks", verb, stack, *confirmed]

    made = {
        PLAIN: lambda: ProcessEach(world, world.project, plain),
        USUAL: lambda: ProcessEach(world, CHECKOUT, usual),
        COMMAND: lambda: ProcessEach(world, CHECKOUT, command),
    }
    return made[way]()


@contextmanager
def start_facade(world: World, way: str) -> Iterator[Facade]:
    """The way `own` or `shared`; its process ends with the block, or with us."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.engine.facade", way],
        cwd=CHECKOUT,
        env=world.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        facade = Facade(process)
        try:
            yield facade
        finally:
            assert process.stdin is not None
            process.stdin.close()  # its sign to end
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                facade.tree.kill()
