"""TLS to a real server: with the authority that signed it, without, and with checking switched off."""

import asyncio
import datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.state.redisserver import free_port, running

from askonce.state.valkey.address import parse
from askonce.state.valkey.server import Unsent
from askonce.state.valkey.single import SingleServer


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback that is its own authority; return its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "askonce tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


async def ping(url: str) -> object:
    server = SingleServer(parse(url), 5)
    await server.open()
    try:
        return await server.call("ECHO", "safe")
    finally:
        await server.close()


def test_tls_is_spoken_and_checked(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file",
           str(cert), "--tls-auth-clients", "no")  # fmt: skip
    with running(tmp_path / "redis", *tls):
        address = f"rediss://127.0.0.1:{port}"
        assert asyncio.run(ping(f"{address}?tls_ca={cert}")) == b"safe"
        assert asyncio.run(ping(f"{address}?tls_verify=off")) == b"safe"
        with pytest.raises(Unsent, match="certificate verify failed"):
            asyncio.run(ping(address))
