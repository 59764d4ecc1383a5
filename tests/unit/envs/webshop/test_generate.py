"""The procedural catalogue."""

from collections import Counter
from itertools import pairwise

from sdar.envs.webshop.catalogue import open_catalogue
from sdar.envs.webshop.generate import generate, open_generated, write_generated
from sdar.envs.webshop.goals import Goals
from sdar.envs.webshop.reward import Semantics, judge


def test_it_is_written_as_the_official_files(tmp_path):
    write_generated(tmp_path, 300)
    read, made = open_catalogue(tmp_path), open_generated(300)
    assert read.products == made.products


def test_a_larger_catalogue_begins_with_a_smaller_one():
    items, extra = generate(120)
    more, _ = generate(400)
    assert more[:120] == items
    assert set(extra) == {item["asin"] for item in items}
    assert len({item["asin"] for item in more}) == 400
    assert all(len(item["asin"]) == 10 for item in more)


def test_it_stays_the_same():
    product = open_generated(1000).products[4]
    assert (product.asin, product.title, product.price_tag, dict(product.options)) == (
        "B0PJV00004",
        "galto machine wash warm lining jacket",
        "$48.0",
        {
            "color": ("black", "white", "blue", "purple", "yellow"),
            "size": ("small", "medium", "large", "petite"),
        },
    )


def test_every_goal_can_be_reached():
    shop = open_generated(1000)
    goals = Goals(shop, 0)
    for goal in goals:
        product = shop[goal.asin]
        price = goals.prices[shop.place[goal.asin]]
        assert judge(goal, product, product, price, dict(goal.options), Semantics.CLEAN).total == 1.0


def test_the_departments_are_the_official_ones():
    counts = Counter(product.kind for product in open_generated(1000).products)
    assert set(counts) == {"beauty", "electronics", "fashion", "garden", "grocery"}
    assert min(counts.values()) > 150


def test_the_vocabulary_is_small():
    shop = open_generated(1000)
    words = {word for product in shop.products for word in product.document.replace(",", " ").split()}
    assert len(words) < 300


def test_lookalikes_differ_in_one_respect():
    """Neighbours of a kind and brand are a family's: the same but for options, price or an attribute."""
    products = open_generated(1000).products
    twins = [(a, b) for a, b in pairwise(products) if a.query == b.query]
    assert len(twins) > 300
    for one, two in twins:
        shared = len(set(one.attributes) & set(two.attributes))
        assert shared >= len(one.attributes) - 2
    same_price = sum(one.prices[0] == two.prices[0] for one, two in twins)
    same_options = sum(one.options == two.options for one, two in twins)
    assert 0.1 < same_price / len(twins) < 0.9
    assert 0.1 < same_options / len(twins) < 0.9
