"""A network with a round-trip time in front of a local server, so that TCP and TLS handshakes take a realistic time."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CHUNK_BYTES = 65536


def make_certificate(directory: Path) -> Path:
    """Write a key and a self-signed certificate for 127.0.0.1 to one PEM file. Returns its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class FarServer:
    """Serves https on a loopback port, `round_trip_s` away, and forwards requests to a plain local server."""

    def __init__(self, target_port: int, certificate: Path, round_trip_s: float) -> None:
        self.target_port, self.round_trip_s = target_port, round_trip_s
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.run(started)), daemon=True).start()
        started.wait()

    async def run(self, started: threading.Event) -> None:
        near = await asyncio.start_server(self.accept, "127.0.0.1", 0, ssl=self.context)
        near_port = near.sockets[0].getsockname()[1]
        far = await asyncio.start_server(lambda r, w: self.travel(r, w, near_port), "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{far.sockets[0].getsockname()[1]}"
        started.set()
        await asyncio.gather(near.serve_forever(), far.serve_forever())

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Terminate TLS and connect to the plain server, without delay."""
        await self.join(reader, writer, self.target_port, 0.0)

    async def travel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Delay both directions. The client's connect() returned immediately, so its round trip is added here."""
        await asyncio.sleep(self.round_trip_s)
        await self.join(reader, writer, port, self.round_trip_s / 2)

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, delay_s: float) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, onward_writer, delay_s), carry(onward_reader, writer, delay_s))


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Forward bytes in order, each chunk `delay_s` after it arrived."""
    chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def send() -> None:
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not chunk:
                writer.close()
                return
            writer.write(chunk)

    sender = asyncio.create_task(send())
    chunk = b"-"
    while chunk:
        try:
            chunk = await reader.read(CHUNK_BYTES)
        except ConnectionError:
            chunk = b""
        chunks.put_nowait((time.monotonic() + delay_s, chunk))
    await sender
