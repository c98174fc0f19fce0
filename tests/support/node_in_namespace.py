"""Runs a node in a network namespace of its own, whose only ways in and out are sockets in a directory.

Usage: unshare --net python node_in_namespace.py DIRECTORY SOCKETS OWN_PORT PORT…
Inside, 127.0.0.1:PORT leads to the socket ``out-PORT`` outside, and the sockets ``in`` and ``inside`` lead to the node.
"""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on until one side ends."""
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main() -> int:
    directory, sockets, own_port, *ports = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    async def join(one: asyncio.StreamReader, other: asyncio.StreamWriter, target: object) -> None:
        try:
            opened = await target  # type: ignore[misc]
        except OSError:
            other.close()
            return
        await asyncio.gather(pump(one, opened[1]), pump(opened[0], other))

    for port in ports:
        path = Path(sockets) / f"out-{port}"
        await asyncio.start_server(
            lambda r, w, path=path: join(r, w, asyncio.open_unix_connection(path)), "127.0.0.1", int(port)
        )
    for name in ("in", "inside"):
        await asyncio.start_unix_server(
            lambda r, w: join(r, w, asyncio.open_connection("127.0.0.1", int(own_port))), Path(sockets) / name
        )
    with (Path(directory) / "process.log").open("ab") as log:
        node = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "node", directory, stdout=log, stderr=log
        )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.terminate)
    return await node.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
