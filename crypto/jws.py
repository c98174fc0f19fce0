"""The provider's detached JWS over a payload's exact bytes: ES256K by the provider's Ethereum account.

RFC 7515 appendix F (detached content), RFC 7797 (b64=false: the bytes are signed as they are), RFC 8812
(ES256K), ETSI TS 119 182-1 (``iat`` as the claimed time of signing). The protected header holds the public key,
and the key gives the account, so that the ledger's author is all that a verifier needs.
"""

import binascii
import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.registry import HeaderParameter

from crypto.errors import FormatError, SignatureError
from crypto.fields import ADDRESS_BYTES, require_octets, require_text, require_uint
from crypto.signer import Signer, address_of

MAX_JWS_CHARACTERS = 4096
MAX_MEDIA_TYPE_BYTES = 255

_ALGORITHM = "ES256K"
_TIME_BITS = 40
_COORDINATE_BYTES = 32
SIGNATURE_BYTES = 64
"""The signature in a JWS: r and s, 32 bytes each, big-endian (RFC 8812)."""
_MAX_HEADER_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class JwsHeader:
    """What a verified signature says: who signed (20 bytes), as what, and when by the signer's own clock."""

    author: bytes
    media_type: str
    signed_at_seconds: int


def sign_detached(signer: Signer, content: bytes, media_type: str, signed_at_seconds: int) -> str:
    """A detached JWS of ``content``: protected header, two dots, signature.

    Only the digest goes to the signer, so it works for any ``Signer`` and copies no content.

    Args:
        media_type: RFC 6838, such as ``application/fhir+json``; a full type, for ``cty``.
        signed_at_seconds: seconds since 1970-01-01 UTC.
    """
    protected = protected_header(signer, media_type, signed_at_seconds)
    digest = signing_hash(protected)
    digest.update(content)
    return compact(protected, signer.sign_digest(digest.digest())[:SIGNATURE_BYTES])


def protected_header(signer: Signer, media_type: str, signed_at_seconds: int) -> str:
    """The first part of what ``sign_detached`` gives: it is known before any content is."""
    point = signer.public_key
    header = {
        "alg": _ALGORITHM,
        "b64": False,
        "crit": ["b64"],
        "cty": require_text("media type", media_type, MAX_MEDIA_TYPE_BYTES),
        "iat": require_uint("time of signing", signed_at_seconds, _TIME_BITS),
        "jwk": {
            "crv": "secp256k1",
            "kty": "EC",
            "x": _encode(point[:_COORDINATE_BYTES]),
            "y": _encode(point[_COORDINATE_BYTES:]),
        },
    }
    return _encode(json.dumps(header, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode())


def signing_hash(protected: str) -> "hashlib._Hash":
    """A SHA-256 that holds all of the signing input but the content, which may follow in pieces (RFC 7797)."""
    return hashlib.sha256(protected.encode("ascii") + b".")


def compact(protected: str, signature: bytes) -> str:
    """The detached JWS of a protected header and a signature of 64 bytes, r and s."""
    return f"{protected}..{_encode(require_octets('JWS signature', signature, SIGNATURE_BYTES))}"


def verify_detached(jws: str, content: bytes, expected_author: bytes) -> JwsHeader:
    """Checks that ``expected_author`` (20 bytes) signed exactly ``content``.

    1. The header is one that ``sign_detached`` writes: nothing else, ES256K only. 2. Its key belongs to the
    author's account. 3. The signature holds over the header and the content.

    Raises:
        FormatError: check 1 fails.
        SignatureError: check 2 or 3 fails.
    """
    header, jwk = _read_header(jws, expected_author)
    try:
        deserialize_compact(
            jws.encode("ascii"),
            ECKey.import_key(dict(jwk)),
            registry=_registry(len(content)),
            payload=content,
        )
    except (JoseError, ValueError) as error:
        raise _not_signed(expected_author, error) from None
    return header


def read_protected(protected: str, expected_author: bytes) -> JwsHeader:
    """Checks 1 and 2 of ``verify_detached``, by the protected header alone, before any content is there.

    Raises:
        FormatError, SignatureError: as ``verify_detached``.
    """
    return _read_header(compact(protected, bytes(SIGNATURE_BYTES)), expected_author)[0]


def verify_digest(jws: str, digest: bytes, expected_author: bytes) -> JwsHeader:
    """``verify_detached``, of content that went through ``signing_hash``: ``digest`` is its result, 32 bytes.

    Raises:
        FormatError, SignatureError: as ``verify_detached``.
    """
    header, jwk = _read_header(jws, expected_author)
    signature = _decode(jws.rpartition(".")[2])
    halves = (int.from_bytes(signature[:_COORDINATE_BYTES]), int.from_bytes(signature[_COORDINATE_BYTES:]))
    try:
        x, y = (int.from_bytes(_decode(jwk[name])) for name in ("x", "y"))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256K1()).public_key()
        public.verify(encode_dss_signature(*halves), digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError) as error:
        raise _not_signed(expected_author, error) from None
    return header


def _not_signed(expected_author: bytes, error: Exception) -> SignatureError:
    return SignatureError(
        f"JWS: expected 0x{expected_author.hex()} to have signed these bytes; it did not ({type(error).__name__})"
    )


def _registry(content_bytes: int) -> JWSRegistry:
    registry = JWSRegistry(
        header_registry={"iat": HeaderParameter("Claimed time of signing", "int", True)},
        algorithms=[_ALGORITHM],
    )
    registry.max_header_length = _MAX_HEADER_CHARACTERS
    registry.max_payload_length = content_bytes
    return registry


def _read_header(jws: str, expected_author: bytes) -> tuple[JwsHeader, Mapping[str, str]]:
    """What a JWS says of itself, and its key, which is the expected author's."""
    require_octets("expected author", expected_author, ADDRESS_BYTES)
    header = _parse_header(jws)
    media_type = require_text("JWS cty", header["cty"], MAX_MEDIA_TYPE_BYTES)
    signed_at_seconds = require_uint("JWS iat", header["iat"], _TIME_BITS)
    jwk = header["jwk"]
    if not isinstance(jwk, dict) or set(jwk) != {"crv", "kty", "x", "y"}:
        raise FormatError("JWS: expected a jwk of crv, kty, x and y; came another")
    author = address_of(_coordinate(jwk["x"]) + _coordinate(jwk["y"]))
    if not secrets.compare_digest(author, expected_author):
        raise SignatureError(
            f"JWS: expected the key of 0x{expected_author.hex()}; came that of 0x{author.hex()}"
        )
    return JwsHeader(author, media_type, signed_at_seconds), {key: str(value) for key, value in jwk.items()}


def _parse_header(jws: str) -> dict[str, object]:
    if not isinstance(jws, str) or len(jws) > MAX_JWS_CHARACTERS or not jws.isascii():
        raise FormatError(f"JWS: expected at most {MAX_JWS_CHARACTERS} ASCII characters; came something else")
    parts = jws.split(".")
    if len(parts) != 3 or parts[1]:
        raise FormatError("JWS: expected a detached one: header, two dots, signature; came another form")
    try:
        header = json.loads(
            _decode(parts[0]),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse,
            parse_float=_refuse,
        )
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise FormatError("JWS: expected a header of JSON in base64url; came other text") from None
    if not isinstance(header, dict) or set(header) != {"alg", "b64", "crit", "cty", "iat", "jwk"}:
        raise FormatError("JWS: expected a header of alg, b64, crit, cty, iat and jwk; came others")
    if header["alg"] != _ALGORITHM or header["b64"] is not False or header["crit"] != ["b64"]:
        raise FormatError(
            f"JWS: expected alg {_ALGORITHM} over unencoded bytes (b64 false, critical); came another"
        )
    if len(_decode(parts[2])) != SIGNATURE_BYTES:
        raise FormatError("JWS: expected a signature of 64 bytes; came another size")
    return header


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name twice in one object")
    return members


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number that is no integer")


def _coordinate(value: object) -> bytes:
    if not isinstance(value, str):
        raise FormatError("JWS: expected coordinates as text in the jwk; came others")
    return require_octets("JWS: coordinate in the jwk", _decode(value), _COORDINATE_BYTES)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    # Compared with its own encoding: base64 tolerates foreign characters, padding and loose last bits.
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        data = b""
    if _encode(data) != text:
        raise FormatError("JWS: expected base64url without padding; came other characters")
    return data
