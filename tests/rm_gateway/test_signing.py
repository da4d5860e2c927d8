"""Signatures: the published and derived vectors, and canonical JSON for every value that JSON has."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from rm_gateway.signing import (
    canonical_json,
    load_private_key,
    load_public_key,
    sign,
    signing_plaintext,
    verify,
)

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]


def having(*names: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if all(name in v for name in names)]


@pytest.mark.parametrize("vector", having("canonical_json"))
def test_the_canonical_json_of_every_vector(vector: dict[str, Any]) -> None:
    text = canonical_json(vector["input"]["body"])
    assert text == vector["canonical_json"]
    assert base64.b64encode(text.encode()).decode() == vector["data_base64"]


@pytest.mark.parametrize("vector", having("plaintext"))
def test_the_plaintext_of_every_vector(vector: dict[str, Any]) -> None:
    assert (
        signing_plaintext(
            method=vector["input"].get("method_given", vector["method"]),
            url=vector["requestUrl"],
            nonce=vector["nonceStr"],
            timestamp=vector["timestamp"],
            body=vector["input"]["body"],
        )
        == vector["plaintext"]
    )


@pytest.mark.parametrize("vector", having("signature_base64", "public_key_pem"))
def test_the_published_signatures_are_verified(vector: dict[str, Any]) -> None:
    signature, key = vector["signature_base64"], vector["public_key_pem"]
    assert verify(vector["plaintext"], signature, key)
    assert verify(vector["plaintext"], f"sha256 {signature}", key)
    assert not verify(vector["plaintext"] + " ", signature, key)


def test_every_vector_is_used_by_some_test() -> None:
    used = {"canonical_json", "plaintext", "basic_authorization"}
    assert all(used & set(vector) for vector in VECTORS)


def test_missing_url_is_left_out_and_a_timestamp_may_be_a_number() -> None:
    got = signing_plaintext(method="POST", url=None, nonce="n", timestamp=10, body=[])
    assert got == "data=W10=&method=post&nonceStr=n&signType=sha256&timestamp=10"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"),
        (1e-6, "0.000001"),
        (123456789.125, "123456789.125"),
        (5e-324, "5e-324"),
        (1e100, "1e+100"),
        (-1e-9, "-1e-9"),
        (10**40, "1" + "0" * 40),
        (-(2**63), "-9223372036854775808"),
        ("<>&'/", '"\\u003c\\u003e\\u0026\'/"'),
        ("\u2028\u2029\u007f\u00e9", '"\\u2028\\u2029\u007f\u00e9"'),
        ('\b\f\n\r\t\x00\x1f"\\', '"\\u0008\\u000c\\n\\r\\t\\u0000\\u001f\\"\\\\"'),
        ("\\b \\f \\\\b", '"\\\\b \\\\f \\\\\\\\b"'),
        ((1, [True, False, None, {}, []]), "[1,[true,false,null,{},[]]]"),
        ({"\U0001f375": 1, "\uffff": 2, "a": 3, "": 4}, '{"":4,"a":3,"\uffff":2,"\U0001f375":1}'),
    ],
)
def test_values_are_written_as_go_writes_them(value: Any, text: str) -> None:
    assert canonical_json(value) == text


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "\ud800", {"\udfff": 1}, {1: 2}, {"a": {1}}, b"x", deep(2000), object()]
)
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^(a body|an object|a string) "):
        canonical_json(value)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and not isinstance(other, bool):
        return isinstance(other, int | float) and float(other) == one
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(VALUES)
def test_a_parse_of_canonical_json_gives_the_value_back(value: Any) -> None:
    text = canonical_json(value)
    assert same(value, json.loads(text))
    assert canonical_json(json.loads(text)) == text
    assert not set("<>&\u2028\u2029") & set(text)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


def test_both_forms_of_a_private_key_sign_alike(private_pem: str, public_pem: str) -> None:
    key = load_private_key(private_pem)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    pkcs1_public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    signature = sign("text", pkcs8)
    assert signature == sign("text", private_pem) == sign("text", key)
    assert verify("text", signature, public_pem)
    assert verify("text", signature, pkcs1_public)
    assert verify("text", signature, load_public_key(public_pem))
    assert load_private_key(private_pem) is key


@given(st.text())
def test_a_garbage_signature_is_false_and_no_error(garbage: str) -> None:
    public_pem = next(v["public_key_pem"] for v in VECTORS if "public_key_pem" in v)
    assert not verify("text", garbage, public_pem)
    assert not verify(garbage, "AAAA", public_pem)


def test_a_key_is_parsed_once_and_kept(private_pem: str, public_pem: str) -> None:
    assert load_private_key(private_pem) is load_private_key(private_pem)
    assert load_public_key(public_pem) is load_public_key(public_pem)


def test_a_key_that_cannot_be_used_is_named_and_not_shown(private_pem: str) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    for pem in (private_pem[:600], "secret-nonsense", "", curve.decode(), locked.decode()):
        with pytest.raises(ValueError, match="the private key") as caught:
            load_private_key(pem)
        assert not pem or pem[3:13] not in str(caught.value)
    with pytest.raises(ValueError, match="the public key"):
        load_public_key(private_pem)
