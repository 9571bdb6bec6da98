"""Which services a word means."""

import pytest

from lifecycle.cli.group import Refusal
from lifecycle.cli.meant import meant

SHOP = [("e1", "shop/db", "shop-db-1"), ("e1", "shop/db/2", "shop-db-2"), ("e1", "shop/vpn", "vpn")]
BLOG = [("e1", "blog/db", "blog-db-1")]
PLAIN = [("e1", "db", "db")]
ELSEWHERE = [("e2", "shop/db", "shop-db-1")]


@pytest.mark.parametrize(
    ("word", "known", "keys"),
    [
        ("db", SHOP, ["shop/db", "shop/db/2"]),
        ("shop/db", SHOP + BLOG, ["shop/db"]),
        ("shop-db-2", SHOP + BLOG, ["shop/db/2"]),
        ("vpn", SHOP, ["shop/vpn"]),
        ("db", SHOP + PLAIN, ["db"]),
        ("shop/db@e2", SHOP + ELSEWHERE, ["shop/db"]),
        ("db@e1", SHOP + ELSEWHERE, ["shop/db", "shop/db/2"]),
    ],
)
def test_one_place_is_meant(word, known, keys):
    assert [key for _, key in meant(word, known)] == keys


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("db", SHOP + BLOG, "db is several services, say which: blog/db, shop/db, shop/db/2"),
        ("shop/db", SHOP + ELSEWHERE, "shop/db is several services, say which: shop/db@e1, shop/db@e2"),
        ("db@e2", SHOP, "no such service: db@e2"),
        ("", SHOP, "no such service:"),
        ("@e1", SHOP, "no such service: @e1"),
    ],
)
def test_who_may_mean_several_has_to_say_which(word, known, said):
    with pytest.raises(Refusal) as refused:
        meant(word, known)
    assert refused.value.format_message() == said
