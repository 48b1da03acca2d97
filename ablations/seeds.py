"""Named random streams: every draw of a trial has a key, and no draw moves another."""

import hashlib
import json


def stream_seed(*key: int | str) -> int:
    """The seed of the stream that a key names: ``stream_seed(3, "order", 12)``.

    The same key gives the same seed on every machine and in every process; different keys give
    unrelated seeds (64 bits of BLAKE2b, the lowest dropped).

    Args:
        *key: The parts of the name; 1 and "1" are different parts.

    Returns:
        A number from 0 to 2**63 - 1, good for ``torch.Generator.manual_seed``.

    Raises:
        TypeError: A part is neither an int nor a str (a NumPy integer, say).
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
