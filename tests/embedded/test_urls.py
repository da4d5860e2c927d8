"""The two connection URLs."""

import pytest

from config.embedded import parse_database_url, redis_py_url

ENGINE = "django.db.backends.postgresql"


def entry(name="", user="", password="", host="", port="", **options):
    return {
        "ENGINE": ENGINE,
        "NAME": name,
        "USER": user,
        "PASSWORD": password,
        "HOST": host,
        "PORT": port,
        "OPTIONS": options,
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///shop", entry("shop")),
        ("postgres://ann@db.example/shop", entry("shop", "ann", host="db.example")),
        ("postgresql://ann:pw@db:6543/shop", entry("shop", "ann", "pw", "db", "6543")),
        ("postgresql://ann:p%40%2F%23%3A@db/shop", entry("shop", "ann", "p@/#:", "db")),
        ("postgresql://ann:a:b@db/shop", entry("shop", "ann", "a:b", "db")),
        ("postgresql://ann:a+b@db/shop", entry("shop", "ann", "a+b", "db")),
        ("postgresql://ann@[::1]:5433/shop", entry("shop", "ann", host="::1", port="5433")),
        ("postgresql://ann@[::1]/shop", entry("shop", "ann", host="::1")),
        ("postgresql://ann@%2FVar%2Frun/shop", entry("shop", "ann", host="/Var/run")),
        ("postgresql://ann@/shop?host=%2Frun%2Fx&port=5432", entry("shop", "ann", host="/run/x", port="5432")),
        (
            "postgresql://db/shop?sslmode=verify-full&sslrootcert=/ca.pem",
            entry("shop", host="db", sslmode="verify-full", sslrootcert="/ca.pem"),
        ),
        ("postgresql://db?dbname=shop&user=ann&password=p%26w", entry("shop", "ann", "p&w", "db")),
        ("  postgresql:///shop\n", entry("shop")),
    ],
)
def test_a_database_url_becomes_djangos_entry(url, expected):
    assert parse_database_url(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must start with postgresql://"),
        ("mysql://ann:hunter2@db/shop", "must start with postgresql://"),
        ("postgresql:ann:hunter2@db/shop", "two slashes"),
        ("postgresql://ann:hunter2@db/", "names no database"),
        ("postgresql://ann:hunter2@db", "names no database"),
        ("postgresql://ann:hunter2@db/shop/more", "more than one '/'"),
        ("postgresql://ann:hunter2@db:70000/shop", "port"),
        ("postgresql://ann:hunter2@db:0/shop", "port"),
        ("postgresql://ann:hunter2@db:x/shop", "port"),
        ("postgresql://ann:hunter2@[::1]x/shop", "cannot be read"),
        ("postgresql://ann:hunter2@[::1/shop", "cannot be read"),
        ("postgresql://ann:hun@ter2@db/shop", "more than one '@'"),
        ("postgresql://ann:hunter2/x@db/shop", "write '/'"),
        ("postgresql://ann:hunter2#x@db/shop", "%23"),
        ("postgresql://ann:hunter2@a,b/shop", "more than one host"),
        ("postgresql://ann:hunter2@db/shop?sslmode", "name=value"),
        ("postgresql://db/shop?password=hunter2&password=hunter2", "more than once"),
    ],
)
def test_invalid_database_url_is_refused_without_its_password(url, says):
    with pytest.raises(ValueError, match=r"URL") as caught:
        parse_database_url(url)

    assert says in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+socket:///run/v.sock?virtual_host=0", "unix:///run/v.sock?db=0"),
        ("redis+socket:///run/v.sock?virtual_host=3", "unix:///run/v.sock?db=3"),
        ("redis+socket:///run/v.sock", "unix:///run/v.sock?db=0"),
        ("redis://:pw@host:6379/1", "redis://:pw@host:6379/1"),
        ("rediss://host/0", "rediss://host/0"),
        ("unix:///run/v.sock?db=2", "unix:///run/v.sock?db=2"),
    ],
)
def test_a_redis_url_takes_the_form_of_redis_py(url, expected):
    assert redis_py_url(url) == expected


def test_another_scheme_is_no_redis_url():
    with pytest.raises(ValueError, match="must start with redis://"):
        redis_py_url("amqp://host/")
