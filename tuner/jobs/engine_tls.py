"""Who may speak to the engine: whoever holds its key. Dask runs whatever it is sent, so that nobody else's may come."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.config import Settings
from tuner.errors import InvalidInput

if TYPE_CHECKING:
    from distributed import Security

_HINT = "See TUNER_ENGINE in docs/settings.md."


def make_certificate(path: Path) -> None:
    """Write a new key and its certificate, which vouches for itself, into one file that only this user can read.

    It is valid at any time: a clock that is set must not part the engine from those who use it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tunesmith-engine")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 1, tzinfo=timezone.utc))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc))  # RFC 5280, 4.1.2.5: no end
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    draft.replace(path)


def security(settings: Settings) -> Security | None:
    """The certificates that the settings name, for all that speaks with the engine; None: an engine without TLS.

    Raises:
        InvalidInput: the settings of the engine do not go together, or name a file that is not there.
    """
    from distributed import Security  # takes a while, and who starts the service only checks

    from tuner.jobs import engine_connector

    ca, certificate, key = settings.engine_ca, settings.engine_cert, settings.engine_key
    address = settings.engine or ""
    if bool(ca) != bool(certificate) or (address.startswith("tls://") and not ca):
        raise InvalidInput(
            "An engine with TLS needs TUNER_ENGINE_CA and TUNER_ENGINE_CERT, and not both are set.", _HINT
        )
    if not ca:
        return None
    if address and not address.startswith("tls://"):
        raise InvalidInput(f"There are certificates for the engine, and {address} is no tls:// address.", _HINT)
    for path in (ca, certificate, key):
        if path and not path.is_file():
            raise InvalidInput(f"There is no certificate or key at {path}.", _HINT)
    engine_connector.install()
    files: dict[str, Any] = {"tls_ca_file": str(ca)}
    for role in ("client", "scheduler", "worker"):
        files |= {f"tls_{role}_cert": str(certificate), f"tls_{role}_key": str(key or certificate)}
    return Security(require_encryption=True, **files)
