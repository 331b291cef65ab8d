from __future__ import annotations

import pytest

from src.ops.key_stream import key_stream


def test_is_the_key_stream_of_chacha20() -> None:
    # Bernstein's test vector for an all-zero key and nonce, which RFC 8439 gives as A.1, vectors 1 and 2.
    zeros = key_stream(bytes(32), bytes(8), 128).hex()
    assert zeros[:128] == (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert zeros[128:] == (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )
    # RFC 8439 A.1, vector 4: a key with one bit set, block 2.
    later = key_stream(b"\x00\xff" + bytes(30), bytes(8), 192)[128:]
    assert later.hex().startswith("72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca")
    # A.1, vector 5: a nonce of twelve bytes, whose first four are where the counter has its upper half here.
    assert key_stream(bytes(32), bytes(7) + b"\x02", 32).hex() == (
        "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
    )


def test_begins_the_same_whatever_its_length() -> None:
    long = key_stream(b"k" * 32, b"nonce..1", 1000)
    for size in (0, 1, 63, 64, 65, 1000):
        assert key_stream(b"k" * 32, b"nonce..1", size) == long[:size]
    assert key_stream(b"k" * 32, b"nonce..2", 1000) != long
    assert key_stream(b"K" * 32, b"nonce..1", 1000) != long


@pytest.mark.parametrize(("key", "nonce"), [(31, 8), (32, 7), (32, 12)])
def test_refuses_other_lengths(key: int, nonce: int) -> None:
    with pytest.raises(ValueError, match=r"(?i)invalid|must be"):
        key_stream(bytes(key), bytes(nonce), 1)
