"""Official files to products."""

import json

import pytest
from tests.unit.envs.webshop.shops import EXTRA, HUMAN, ITEMS, item, small_shop

from sdar.envs.webshop.catalogue import open_catalogue, read_products
from sdar.errors import DataError


def write(directory, items=ITEMS, suffix="", extra=EXTRA):
    (directory / f"items_shuffle{suffix}.json").write_text(json.dumps(items))
    (directory / f"items_ins_v2{suffix}.json").write_text(json.dumps(extra))


def test_what_a_product_keeps():
    shirt = small_shop()["B0SHIRT001"]
    assert shirt.options == {"color": ("red", "light blue | white"), "size": ("small", "x-small")}
    assert (shirt.prices, shirt.price_tag) == ((25.99,), "$25.99")
    assert shirt.query == "shirts"
    assert shirt.path == {"Clothing", "Tops", "Shirts"}
    assert shirt.instruction
    assert shirt.instruction.attributes == ("slim fit",)
    assert shirt.document == (
        "arvo slim fit shirt a shirt. machine wash color: red, light blue | white, and size: small, x-small"
    )


def test_prices():
    shop = small_shop()
    assert [product.price_tag for product in shop.products] == [
        "$25.99", "$15.0 to $30.5", "$100.0", "$995.0", "$980.0",
    ]  # fmt: skip
    (three,) = read_products([item("B1", "x", "$1,000.00$2.00$3.00")], {})
    assert three.prices == (1000.0, 2.0)


def test_what_is_missing():
    lamp = small_shop()["B0LAMP0002"]
    assert (lamp.attributes, lamp.instruction, lamp.human, lamp.bullets) == (("DUMMY_ATTR",), None, (), ())
    assert lamp.document == "desk lamp   "
    assert small_shop()["B0LAMP0001"].bullets == ("Warm light",)


def test_impossible_and_repeated_asins_are_left_out():
    items = [item("nan", "a"), item("B0123456789", "b"), item("B1", "c"), item("B1", "d")]
    assert [product.title for product in read_products(items, {})] == ["c"]


def test_files(tmp_path):
    write(tmp_path)
    whole, part = open_catalogue(tmp_path), open_catalogue(tmp_path, 2)
    assert (len(whole), len(part)) == (5, 2)
    assert open_catalogue(tmp_path) is whole
    assert not whole["B0LAMP0001"].human
    (tmp_path / "items_human_ins.json").write_text(json.dumps(HUMAN))
    (tmp_path / "title_nouns.json").write_text(json.dumps({"Desk Lamp": ["lamp"]}))
    open_catalogue.cache_clear()
    again = open_catalogue(tmp_path)
    assert len(again["B0LAMP0001"].human) == 3
    assert again["B0LAMP0002"].nouns == ("lamp",)
    assert again["B0LAMP0001"].nouns == ("corvin", "desk", "lamp")


def test_a_file_for_that_many_products_comes_first(tmp_path):
    write(tmp_path)
    write(tmp_path, ITEMS[:2], "_2")
    assert len(open_catalogue(tmp_path, 2)) == 2
    assert len(open_catalogue(tmp_path, 3)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items_shuffle.json", None, "no items_shuffle.json in"),
        ("items_ins_v2.json", None, "no items_ins_v2.json in"),
        ("items_shuffle.json", "{}", "holds a dict, not a list"),
        ("items_shuffle.json", "[{", "cannot read"),
        ("items_shuffle.json", '[{"asin": "B1"}]', "does not hold WebShop's product files"),
        ("items_shuffle.json", '["B1"]', "does not hold WebShop's product files"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    write(tmp_path)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        open_catalogue(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": None}, "product 2 (B1): name is null, not a text"),
        ({"small_description": None}, "product 2 (B1): an entry of small_description is null, not a text"),
        ({"small_description": ["soft", None]}, "an entry of small_description is null"),
        ({"pricing": "$"}, 'product 2 (B1): pricing is "$", which is not a price'),
        ({"pricing": "$1.299.00"}, 'pricing is "$1.299.00"'),
        ({"pricing": "$" + "9" * 400}, "9..., which is not a price"),
        ({"pricing": 10.99}, "pricing is 10.99, not a text"),
        ({"customization_options": {"Size": [{"value": None}]}}, "customization_options, Size is null"),
        ({"customization_options": {"Size": ["s"]}}, '"s" is not an object'),
        ({"customization_options": ["s"]}, 'customization_options is ["s"], not an object'),
        ({"query": None}, "product 2 (B1): query is null"),
        ({"asin": 17}, "product 2: asin is 17, not a text"),
    ],
)
def test_a_product_that_cannot_be_used_is_left_out_and_named(tmp_path, caplog, changes, fault):
    write(tmp_path, [item("B0", "good"), item("B1", "bad") | changes, item("B2", "good")])
    assert [product.asin for product in open_catalogue(tmp_path).products] == ["B0", "B2"]
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}: 1 products cannot be used: product 2")
    assert fault in line


@pytest.mark.parametrize(
    "field", ["asin", "name", "full_description", "small_description", "category", "query"]
)
def test_a_missing_field_is_named(field):
    bad = {name: value for name, value in item("B1", "bad").items() if name != field}
    faults = []
    assert not list(read_products([bad], {}, left_out=faults))
    assert faults == [f"product 1{'' if field == 'asin' else ' (B1)'}: {field} is missing"]


def test_bad_attributes_and_instructions_are_of_a_product_too(tmp_path, caplog):
    people = {"B0LAMP0001": [{"instruction": "a lamp", "instruction_attributes": None}]}
    (tmp_path / "items_human_ins.json").write_text(json.dumps(people))
    write(tmp_path, extra=EXTRA | {"B0SHIRT002": {"attributes": "slim fit"}, "B0MOWER001": []})
    assert [product.asin for product in open_catalogue(tmp_path).products] == ["B0SHIRT001", "B0LAMP0002"]
    assert caplog.messages == [
        f"{tmp_path}: 3 products cannot be used: "
        'product 2 (B0SHIRT002): attributes is "slim fit", not a list; '
        "product 3 (B0LAMP0001): instruction_options is missing; "
        "product 5 (B0MOWER001): [] is not an object"
    ]


def test_a_bad_product_does_not_hide_a_good_one_of_its_asin():
    assert [p.title for p in read_products([item("B1", "x", "$"), item("B1", "y")], {})] == ["y"]


def test_half_a_character_is_replaced():
    (product,) = read_products([item("B1", "hat \ud83d", options={"Size": ["\udc00"]})], {})
    assert (product.title, product.options) == ("hat \ufffd", {"size": ("\ufffd",)})
