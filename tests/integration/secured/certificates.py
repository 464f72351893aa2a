"""Certificates for servers on loopback, made by openssl: an authority, and one certificate that it signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

STORE_PASSWORD = "store-of-this-test"


@dataclass(frozen=True)
class Certificates:
    """Files of one authority.

    Attributes:
        ca: the authority's certificate, PEM: what clients trust.
        certificate: the servers' certificate, PEM, for the address 127.0.0.1.
        key: the servers' key, PEM.
        key_and_certificate: both in one file, as Kafka takes them.
        store: both as PKCS#12 under :data:`STORE_PASSWORD`, as Cassandra takes them.
    """

    ca: Path
    certificate: Path
    key: Path
    key_and_certificate: Path
    store: Path


def make_authority(folder: Path) -> Path:
    """A new authority in ``folder``; returns its certificate."""
    folder.mkdir(parents=True)
    _openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority of a test"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
    )
    return folder / "ca.pem"


def make_certificates(folder: Path) -> Certificates:
    """An authority and a certificate for servers on this machine."""
    ca = make_authority(folder)
    _openssl(
        folder,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=servers of a test"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n", encoding="ascii")
    _openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
        *("-extfile", "names", "-out", "server.pem"),
    )
    _openssl(
        folder,
        *("pkcs12", "-export", "-inkey", "server.key", "-in", "server.pem", "-certfile", "ca.pem"),
        *("-name", "server", "-passout", f"pass:{STORE_PASSWORD}", "-out", "server.p12"),
    )
    both = folder / "server-and-key.pem"
    both.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text(), encoding="ascii")
    return Certificates(ca, folder / "server.pem", folder / "server.key", both, folder / "server.p12")


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
