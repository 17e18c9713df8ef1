"""The Pulumi program, loaded once in a process: its SDKs take two seconds and 160 MB."""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock

Program = Callable[[], None]

_first = Lock()


def load_program() -> Program:
    """The program, with every SDK module that it uses imported.

    The SDK packages import lazily, and first uses from several threads at once break each other:
    one thread does it here, and whoever asks meanwhile waits.
    """
    with _first:
        loading = _loading()
    return loading.result()


def start_loading() -> Program:
    """What runs the program, at once, while it loads in a thread.

    An engine takes half a second before it asks for it. What goes wrong in loading shows then, as
    an error of the program.
    """
    with _first:
        loading = _loading()
    return lambda: loading.result()()


@cache
def _loading() -> Future[Program]:
    pool = ThreadPoolExecutor(1, "program")
    loading = pool.submit(_load)
    pool.shutdown(wait=False)
    return loading


def _load() -> Program:
    with _no_garbage():
        import pulumi_cloudflare
        import pulumi_command
        import pulumi_hcloud

        from infra.program import program

    for touched in (
        pulumi_cloudflare.DnsRecord,
        pulumi_cloudflare.OriginCaCertificate,
        pulumi_cloudflare.Provider,
        pulumi_hcloud.Server,
        pulumi_hcloud.Provider,
        pulumi_command.local.Command,
        pulumi_command.remote.Command,
        pulumi_command.remote.CopyToRemote,
        pulumi_command.remote.ConnectionArgs,
    ):
        assert touched
    return program


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What the block makes stays for good: no collection looks for garbage in it, now or later.

    A million objects are: looking through them takes a quarter of the import, then 0.2 s each time.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
