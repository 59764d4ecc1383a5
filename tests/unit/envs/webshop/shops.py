"""A shop of a few products, written as the official files have them."""

from typing import Any

from sdar.envs.webshop.catalogue import BELOW, Catalogue, read_products


def item(asin: str, name: str, price: str = "$20.00", **more: Any) -> dict[str, Any]:
    return {
        "asin": asin,
        "name": name,
        "full_description": more.get("description", ""),
        "small_description": more.get("bullets", []),
        "pricing": price,
        "product_category": more.get("path", "Home > Tools").replace(">", BELOW),
        "category": more.get("kind", "garden"),
        "query": more.get("query", "tools"),
        "customization_options": {
            name: [{"value": value} for value in values] for name, values in more.get("options", {}).items()
        }
        or "",
    }


ITEMS = [
    item(
        "B0SHIRT001",
        "Arvo Slim Fit Shirt",
        "$25.99",
        description="A shirt.",
        bullets=["Machine wash", " Soft/Cotton "],
        path="Clothing > Tops > Shirts",
        kind="fashion",
        query="Shirts ",
        options={"Color": ["Red", "Light Blue/White"], "Size": ["Small", "X-Small"]},
    ),
    item(
        "B0SHIRT002",
        "Belmar Slim Fit Shirt",
        "$15.00$30.50",
        bullets=["Machine wash"],
        path="Clothing > Tops > Shirts",
        kind="fashion",
        query="shirts",
        options={"color": ["red"]},
    ),
    item(
        "B0LAMP0001",
        "Corvin Desk Lamp",
        "",
        bullets="Warm light",
        path="Home > Lighting > Lamps",
        query="lamps",
    ),
    item("B0LAMP0002", "Desk Lamp", "$995.00", path="Home > Lighting > Lamps", query="lamps"),
    item("B0MOWER001", "Garden Mower", "$980.00", path="Yard > Mowers", query="mowers"),
]
EXTRA = {
    "B0SHIRT001": {
        "attributes": ["slim fit", "machine washable"],
        "instruction": "Find me slim fit shirts",
        "instruction_attributes": ["slim fit"],
    },
    "B0SHIRT002": {"attributes": ["slim fit"]},
    "B0LAMP0001": {
        "attributes": ["warm light", "easy assemble"],
        "instruction": "Find me warm light lamps",
        "instruction_attributes": ["warm light"],
    },
    "B0MOWER001": {"attributes": [], "instruction": "Find me mowers", "instruction_attributes": ["quiet"]},
}
HUMAN = {
    "B0LAMP0001": [
        {
            "instruction": "i want a lamp.",
            "instruction_attributes": ["warm light"],
            "instruction_options": ["black"],
        },
        {"instruction": "any lamp", "instruction_attributes": [], "instruction_options": []},
        {"instruction": "a desk lamp", "instruction_attributes": ["desk"], "instruction_options": []},
    ]
}


def small_shop() -> Catalogue:
    return Catalogue(list(read_products(ITEMS, EXTRA, HUMAN)))
