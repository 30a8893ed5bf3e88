"""Etags as Cloud Storage makes them: generation and metageneration as a small protobuf message."""

from __future__ import annotations

import base64


def etag(generation: int, metageneration: int) -> str:
    """The etag of an object, such as `CKih16GjycICEAE=`."""
    message = b"\x08" + _varint(generation) + b"\x10" + _varint(metageneration)
    return base64.b64encode(message).decode()


def short_etag(metageneration: int) -> str:
    """The etag of a bucket or a policy, such as `CAE=`."""
    return base64.b64encode(b"\x08" + _varint(metageneration)).decode()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
