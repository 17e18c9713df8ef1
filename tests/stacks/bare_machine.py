"""The outside world of a set-up, in small: commands on PATH, a network that is there or not."""

import contextlib
import datetime
import shutil
import socketserver
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CHECKOUT = Path(__file__).resolve().parents[2]
OFFICIAL_HOST = "get.pulumi.com"
CLOSED_PORT = 1
TOOLS = ("sh", "cat", "mkdir", "chmod", "sleep", "dirname", "env")

PULUMI = """#!/bin/sh
case "$1" in
version) echo "{version}" ;;
plugin)
    echo "$4 $5" >>"{log}"
    dir="$PULUMI_HOME/plugins/resource-$4-$5"
    mkdir -p "$dir" && echo official >"$dir/pulumi-resource-$4" ;;
esac
"""
GO = """#!/bin/sh
if [ "$1" = env ]; then echo "{go_version}"; exit; fi
echo build >>"{log}"
echo $$ >"{log}.pid"
while [ "$1" != -o ]; do shift; done
{behaviour}
mkdir -p "$(dirname "$2")"
printf '%s\\n' '#!/bin/sh' 'echo v3.253.0' >"$2"
chmod +x "$2"
"""


@dataclass
class Machine:
    """A machine with nothing but a shell's tools on PATH, no internet, and empty folders."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        self.env = {
            "PATH": str(self.bin),
            "HOME": str(self.root),
            "XDG_CACHE_HOME": str(self.root / "xdg"),
            "PULUMI_HOME": str(self.home),
            "PULUMI_BACKEND_URL": f"file://{self.root / 'state'}",
            "https_proxy": f"http://127.0.0.1:{CLOSED_PORT}",
            "LC_ALL": "C.UTF-8",
        }

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        return self.root / "xdg" / "clawdet"

    @property
    def home(self) -> Path:
        return self.root / "pulumi"

    def command(self, name: str, script: str) -> Path:
        """Put an executable on PATH."""
        path = self.bin / name
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def add_pulumi(self, version: str = "v3.253.0") -> Path:
        return self.command("pulumi", PULUMI.format(version=version, log=self.root / "downloads"))

    def add_go(self, go_version: str = "go1.26.8", behaviour: str = "") -> Path:
        text = GO.format(go_version=go_version, behaviour=behaviour, log=self.root / "builds")
        return self.command("go", text)

    def count(self, what: str) -> int:
        """How many `builds` or plugin `downloads` there were."""
        log = self.root / what
        return len(log.read_text().splitlines()) if log.exists() else 0

    def leftovers(self) -> list[str]:
        """Work folders in the cache that nobody will use."""
        return [path.name for path in (self.cache / "engine").glob(".staging-*")]

    def stand_ins(self) -> str:
        """A command line that installs stand-in plugins and a language host into `home`."""
        wanted = "hcloud-v{hcloud} cloudflare-v{cloudflare} command-v{command}".format(**versions())
        script = self.command(
            "install-stand-ins",
            "#!/bin/sh\nset -e\n"
            f"for p in {wanted}; do dir={self.home}/plugins/resource-$p; "
            "file=$dir/pulumi-resource-${p%%-*}; "
            "if [ ! -e $file ]; then mkdir -p $dir; echo '#!/bin/sh' >$file; fi; done\n"
            f"mkdir -p {self.home}/bin; echo x >{self.home}/bin/pulumi-language-python\n",
        )
        return str(script)

    def start(self, *args: str, **env: str) -> "subprocess.Popen[str]":
        """`python -m stacks ARGS` on this machine."""
        return subprocess.Popen(
            [sys.executable, "-m", "stacks", *args], cwd=CHECKOUT, env={**self.env, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """`python -m stacks ARGS` on this machine, to its end."""
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


def versions() -> dict[str, str]:
    """The plugin versions that requirements.txt pins."""
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split()[0].split("==") for line in lines if line.startswith("pulumi-"))
    return {name.removeprefix("pulumi-"): version for name, version in pins.items()}


class _Tunnel(socketserver.StreamRequestHandler):
    """One CONNECT of an HTTPS client: answers every request in the tunnel with `server.body`."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 ok\r\n\r\n")
        server = self.server
        assert isinstance(server, Internet)
        if server.silent:
            server.closing.wait()
            return
        with contextlib.suppress(OSError), server.tls.wrap_socket(self.request, True) as tls:
            tls.recv(65536)
            head = f"HTTP/1.1 200 ok\r\nContent-Length: {len(server.body)}\r\n\r\n"
            tls.sendall(head.encode() + server.body)


class Internet(socketserver.ThreadingTCPServer):
    """An HTTPS proxy on loopback behind which the official host serves one file."""

    daemon_threads = True

    def __init__(self, folder: Path, body: bytes, silent: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.body, self.silent, self.closing = body, silent, threading.Event()
        self.authority = folder / "authority.pem"
        self.tls = _certify(OFFICIAL_HOST, self.authority)

    @property
    def env(self) -> dict[str, str]:
        return {
            "https_proxy": f"http://127.0.0.1:{self.server_address[1]}",
            "SSL_CERT_FILE": str(self.authority),
        }


@contextlib.contextmanager
def internet(folder: Path, body: str = "", *, silent: bool = False) -> Iterator[Internet]:
    """An internet whose official host serves `body`, or takes connections and stays `silent`."""
    with Internet(folder, body.encode(), silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def _certify(host: str, path: Path) -> ssl.SSLContext:
    """A self-signed certificate for `host`, written with its key to `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + plain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def alive(pid: int) -> bool:
    """True while the process runs (a zombie does not)."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
