"""Which addresses are the public internet's, and which URLs may be endpoints."""

import pytest

from billing.domain.addresses import AddressError, check_url, is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "100.64.0.1",
    "100.100.100.200",  # a cloud's metadata
    "168.63.129.16",  # another's
    "169.254.169.254",  # and the others'
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # compatible
    "::ffff:127.0.0.1",  # mapped
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # translated
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    # Not addresses at all, though some resolver would make one of them.
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "",
    "localhost",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hooks",
        "https://shop.example:8443/hooks?token=a%20b",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:444/",
        "https://xn--mnchen-3ya.example/",
        "https://hooks.2x.example/",
    ],
)
def test_url_is_taken_when_it_may_be_public(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://shop.example/", "https"),
        ("ftp://shop.example/", "https"),
        ("shop.example/hooks", "https"),
        ("", "https"),
        ("https://", "web_address"),
        ("https:///hooks", "web_address"),
        ("https://shop.example:0/", "web_address"),
        ("https://shop.example:99999/", "web_address"),
        ("https://[::1/", "web_address"),
        ("https://shop.example/a b", "web_address"),
        ("https://shop.example\\@10.0.0.1/", "web_address"),
        ("https://münchen.example/", "web_address"),
        ("https://shop.example/\r\nX: y", "web_address"),
        (f"https://shop.example/{'x' * 2000}", "web_address"),
        ("https://user@shop.example/", "user_name"),
        ("https://user:pw@shop.example/", "user_name"),
        ("https://shop.example#@10.0.0.1/", "fragment"),
        ("https://shop.example/#", "fragment"),
        ("https://127.0.0.1/", "private_address"),
        ("https://127.0.0.1./", "private_address"),
        ("https://[::ffff:10.0.0.1]/", "private_address"),
        ("https://2130706433/", "private_address"),
        ("https://0x7F000001/", "private_address"),
        ("https://127.1/", "private_address"),
        ("https://hooks.example.1/", "private_address"),
        ("https://localhost/", "private_address"),
        ("https://LOCALHOST./", "private_address"),
        ("https://api.localhost/", "private_address"),
        ("https://metadata.google.internal/", "private_address"),
        ("https://printer.local/", "private_address"),
        ("https://./", "private_address"),
    ],
)
def test_url_is_refused_when_it_breaks_a_rule(url: str, rule: str) -> None:
    with pytest.raises(AddressError) as refused:
        check_url(url, allow_private=False)
    assert (refused.value.field, refused.value.rule) == ("url", rule)


def test_private_urls_are_taken_when_the_setting_allows_them() -> None:
    for url in ("http://127.0.0.1:8000/hooks", "http://localhost/", "https://10.0.0.1/"):
        check_url(url, allow_private=True)
    with pytest.raises(AddressError):
        check_url("http://user@localhost/", allow_private=True)
