"""Ad-hoc callables open only where a secret proves them."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis import adhoc
from zart_redis.adhoc import open_sealed, seal
from zart_redis.errors import ConfigurationError, SerializationError, UntrustedPayload

HERE = ("order-1", "1", "double")
SEALED = seal(lambda n: 2 * n, secrets=["s3cret"], context=HERE)


def test_a_closure_travels_as_bytes() -> None:
    factor = 3
    data = seal(lambda n: factor * n, secrets=["s3cret"], context=HERE)
    assert open_sealed(data, secrets=["s3cret"], context=HERE)(7) == 21


def test_secrets_can_be_replaced_one_after_the_other() -> None:
    data = seal(len, secrets=["new", "old"], context=HERE)
    assert open_sealed(data, secrets=["other", "new"], context=HERE) is len
    with pytest.raises(UntrustedPayload):
        open_sealed(data, secrets=["old"], context=HERE)


@pytest.mark.parametrize(
    "context",
    [
        ("order-2", "1", "double"),
        ("order-1", "2", "double"),
        ("order-1", "1", "other"),
        ("order-11", "", "double"),
        (),
    ],
)
def test_it_opens_in_its_own_place_only(context: tuple[str, ...]) -> None:
    with pytest.raises(UntrustedPayload):
        open_sealed(SEALED, secrets=["s3cret"], context=context)


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_one_changed_bit_is_noticed(bit: int) -> None:
    forged = bytearray(SEALED)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UntrustedPayload):
        open_sealed(bytes(forged), secrets=["s3cret"], context=HERE)


@given(st.binary(max_size=100))
def test_other_bytes_are_never_loaded(data: bytes) -> None:
    with pytest.raises(UntrustedPayload):
        open_sealed(data, secrets=["s3cret"], context=HERE)


def test_nothing_is_unpickled_before_it_is_proved(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "exploded",)

    with pytest.raises(UntrustedPayload):
        open_sealed(SEALED[:32] + pickle.dumps(Bomb()), secrets=["s3cret"], context=HERE)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nothing_is_sealed_or_opened(secrets: list[str]) -> None:
    with pytest.raises(UntrustedPayload, match="ZART_SECRET"):
        seal(len, secrets=secrets, context=HERE)
    with pytest.raises(UntrustedPayload, match="ZART_SECRET"):
        open_sealed(SEALED, secrets=secrets, context=HERE)


def test_the_letters_of_a_secret_are_no_secrets() -> None:
    with pytest.raises(ConfigurationError) as refused:
        seal(len, secrets="s3cret", context=HERE)
    assert "s3cret" not in str(refused.value)


def test_what_cannot_be_pickled_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="cannot be pickled"):
        seal(lambda: lock, secrets=["s3cret"], context=HERE)


@pytest.mark.parametrize("payload", [pickle.dumps(3), b"not a pickle"])
def test_what_was_proved_may_still_be_unusable(payload: bytes) -> None:
    data = adhoc._mac(b"s3cret", HERE, payload) + payload
    with pytest.raises(SerializationError):
        open_sealed(data, secrets=["s3cret"], context=HERE)
