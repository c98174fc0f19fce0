"""A member's node behind a cable that a test can pull: in a network namespace of its own, where that is allowed."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
from node_fixtures import Member


def namespaces_are_allowed() -> bool:
    """Whether this user may make network namespaces here."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


class Cable:
    """Between a node and everything else. ``cut`` makes it silent, as a broken cable is; ``mend`` ends that."""

    def __init__(self, member: Member, own_port: int, outside_ports: Sequence[int]) -> None:
        """Takes the member's stopped node to the other end; ``outside_ports`` are those that it may want to reach."""
        self._member = member
        self._own_port = own_port
        self._ports = list(outside_ports)
        self._sockets = Path(tempfile.mkdtemp(prefix="phr-cable-"))
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.inside = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self._sockets / "inside")), timeout=30, trust_env=False
        )
        """Calls the node from its own side, whatever the cable does."""

    def start(self) -> None:
        """Lays the cable, and starts the node at its end."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._lay(), self._loop).result(30)
        script = Path(__file__).with_name("node_in_namespace.py")
        ports = [str(port) for port in (self._own_port, *self._ports)]
        words = [sys.executable, str(script), str(self._member.directory), str(self._sockets), *ports]
        self._process = subprocess.Popen(["unshare", "--net", *words])

    def cut(self) -> None:
        """Nothing goes through any more, either way; nobody is told."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """All goes through again, what waits included."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def get(self, path: str) -> httpx.Response | None:
        """A public view of the node, from its own side; None when it does not answer."""
        try:
            return self.inside.get("http://node" + path)
        except httpx.HTTPError:
            return None

    def stop(self) -> None:
        """Ends the node and takes the cable away."""
        self.mend()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
        self.inside.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        shutil.rmtree(self._sockets)

    async def _lay(self) -> None:
        for port in self._ports:
            await asyncio.start_unix_server(
                lambda r, w, port=port: self._join(r, w, lambda: asyncio.open_connection("127.0.0.1", port)),
                self._sockets / f"out-{port}",
            )
        await asyncio.start_server(
            lambda r, w: self._join(r, w, lambda: asyncio.open_unix_connection(self._sockets / "in")),
            "127.0.0.1",
            self._own_port,
        )

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: object
    ) -> None:
        await self._whole.wait()
        try:
            other_reader, other_writer = await connect()  # type: ignore[operator]
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(65536):
                await self._whole.wait()
                writer.write(part)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
