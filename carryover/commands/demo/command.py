"""`carryover demo RUN [RUN]`"""

import importlib.util
import ipaddress
import socket
from pathlib import Path

import typer

from carryover.commands.load import TRUST, load_run


def demo(
    folders: list[Path] = typer.Argument(metavar="RUN...", help="One run folder, or two to be compared"),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; default: this machine alone can open the page"),
    port: int = typer.Option(7860, min=1, max=65535, help="Port of the page"),
    language: str = typer.Option(None, help="What is spoken; default: each run's language"),
    vad: bool = typer.Option(False, "--vad", help="Find speech first (extra: vad): recordings of any length"),
    trust: bool = TRUST,
) -> None:
    """Speak or upload a recording on a page, and see what one or two runs write, with the differences marked.

    Needs the extra demo (gradio). Nothing is sent anywhere; recordings are removed when the command ends.
    """
    if len(folders) > 2:
        raise ValueError(f"{len(folders)} run folders; give one, or two to be compared")
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("carryover demo needs gradio: pip install -e '.[demo]'")
    require_free(host, port)
    from carryover.commands.demo import page
    from carryover.data.audio import ENDINGS

    heard = []
    for folder in folders:
        brain, hparams, _ = load_run(folder, trust)
        if brain.endings != ENDINGS:
            raise ValueError(f"{folder}: this recipe reads no audio, so there is nothing to speak to")
        heard.append(page.Heard(str(folder), brain, hparams, language or hparams["language"], vad))
    if not is_loopback(host):
        typer.echo(f"--host {host}: whoever reaches this address can use the page; there is no password", err=True)
    typer.echo(f"http://{host}:{port} (Ctrl-C ends it)")
    page.serve(heard, host, port)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_free(host: str, port: int) -> None:
    """Raise ValueError, before models are loaded, where nothing can listen at an address."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ValueError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror or error}); give another --port, or "
            "an address of this machine"
        ) from None
