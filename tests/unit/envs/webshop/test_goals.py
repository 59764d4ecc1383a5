"""Goals, price limits and splits."""

from random import Random

from tests.unit.envs.webshop.shops import small_shop

from sdar.envs.webshop.generate import open_generated
from sdar.envs.webshop.goals import NO_LIMIT, Goals, is_held_out


def test_one_goal_for_each_combination():
    goals = Goals(small_shop(), 0)
    wishes = [(goal.asin, goal.options) for goal in goals]
    assert wishes == [
        ("B0SHIRT001", (("color", color), ("size", size)))
        for color in ("red", "light blue | white")
        for size in ("small", "x-small")
    ] + [("B0LAMP0001", ()), ("B0MOWER001", ())]
    assert [goals.name(place) for place in range(len(goals))][3:] == [
        "B0SHIRT001/3",
        "B0LAMP0001/0",
        "B0MOWER001/0",
    ]
    assert [goals.product(place).kind for place in (0, 4)] == ["fashion", "garden"]


def test_the_sentence_names_options_and_limit():
    goal = Goals(small_shop(), 0)[1]
    wanted = "Find me slim fit shirts with color: red, and size: x-small"
    assert goal.text == f"{wanted}, and price lower than {goal.limit:.2f} dollars"
    assert goal.limit in (40.0, 50.0, 60.0)
    assert Goals(small_shop(), 0)[5].text == "Find me mowers"


def test_draws_are_those_of_the_procedure():
    for seed in range(20):
        random = Random(seed)
        price = random.uniform(15.0, 30.5)
        shirt = max(random.sample([30.0, 40.0, 50.0, 60.0], 2))
        lamp = max(random.sample([110.0, 120.0, 130.0, 140.0], 2))
        goals = Goals(small_shop(), seed)
        assert goals.prices == (25.99, price, 100.0, 995.0, 980.0)
        assert [goals[place].limit for place in (0, 4, 5)] == [shirt, lamp, NO_LIMIT]
        order = list(range(6))
        Random(seed).shuffle(order)
        assert goals.shuffled() == order


def test_goals_by_people():
    goals = Goals(small_shop(), 0, human=True)
    assert [(goals.name(place), goal.options) for place, goal in enumerate(goals)] == [
        ("B0LAMP0001/0", (("", "black"),)),
        ("B0LAMP0001/2", ()),
    ]
    assert goals[0].text.startswith("i want a lamp, and price lower than ")


def test_splits_share_no_product():
    goals = Goals(open_generated(500), 0)
    train, held_out = goals.split(False), goals.split(True)
    assert sorted(train + held_out) == list(range(len(goals)))
    products = [{goals.product(place).asin for place in part} for part in (train, held_out)]
    assert not products[0] & products[1]
    assert 0.15 < len(products[1]) / 500 < 0.25


def test_products_that_people_asked_for_are_held_out():
    shop = small_shop()
    assert is_held_out(shop["B0LAMP0001"])
    assert not is_held_out(shop["B0SHIRT001"])


def test_a_panel_takes_one_goal_of_each_product_in_turn():
    goals = Goals(open_generated(500), 0)
    held_out = goals.split(True)
    panel = goals.spread(held_out, 150)
    products = [goals.product(place).asin for place in panel]
    distinct = len({goals.product(place).asin for place in held_out})
    assert len(set(panel)) == 150
    assert len(set(products[:distinct])) == distinct
    assert goals.spread(held_out, 50) == panel[:50]
    assert goals.spread(list(reversed(held_out)), 50) == panel[:50]
