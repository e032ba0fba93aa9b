"""A node that knows nothing of Capsize: it sends, receives and answers packets, and tells about it.

TCP port 7000 takes one JSON object a line: ``{"op": "send", "to": address, "nonce": text}`` sends a datagram to
another's port 7000; ``{"op": "heard"}`` lists what arrived; ``{"op": "echo", "to": address, "timeout": s}`` sends a
line over a connection that is kept open and waits for it to come back.
"""

from __future__ import annotations

import asyncio
import json
import sys

PORT = 7000
heard: list[str] = []
connections: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}


class Ear(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        heard.append(data.decode())


async def echo(address: str, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            if address not in connections:
                connections[address] = await asyncio.open_connection(address, PORT)
            reader, writer = connections[address]
            writer.write(b'{"op": "heard"}\n')
            return bool(await reader.readline())
    except (OSError, TimeoutError):
        return False


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ear: asyncio.DatagramTransport) -> None:
    while line := await reader.readline():
        request = json.loads(line)
        answer: object = None
        match request["op"]:
            case "send":
                ear.sendto(request["nonce"].encode(), (request["to"], PORT))
            case "heard":
                answer = heard
            case "echo":
                answer = await echo(request["to"], request["timeout"])
        writer.write(json.dumps(answer).encode() + b"\n")


async def main() -> None:
    address = sys.argv[1]
    loop = asyncio.get_running_loop()
    ear, _ = await loop.create_datagram_endpoint(Ear, local_addr=(address, PORT))
    server = await asyncio.start_server(lambda r, w: serve(r, w, ear), address, PORT)
    print("serving", flush=True)
    if "fork" in sys.argv:  # a helper that leaves the session and outlives its parent, like a daemon
        await asyncio.create_subprocess_exec("setsid", "sleep", "1000")
    await server.serve_forever()


asyncio.run(main())
