"""Settings, splits, panels, and whole episodes."""

import json
import re

import pytest
from tests.unit.envs.webshop.shops import EXTRA, HUMAN, ITEMS

from sdar.envs.check import HOSTILE, check_env
from sdar.envs.webshop.generate import write_generated
from sdar.envs.webshop.spec import WebshopSpec
from sdar.errors import ConfigError, DataError
from sdar.types import Step


def play(spec, task, expert="shopper", noise=0.0) -> tuple[Step, float]:
    env = spec.make()
    observation = env.reset(task)
    player = spec.expert(expert, env, task, 0, noise)
    for _ in range(spec.max_turns):
        step = env.step(spec.prompts().answer(player.act(observation)))
        observation = step.observation
        if step.done or step.truncated:
            break
    return step, step.metrics["score"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"semantics": "oficial"}, "unknown semantics 'oficial': did you mean 'official'"),
        ({"prompt": "long"}, "unknown prompt 'long': choose from compact, full"),
        ({"parsing": "strickt"}, "did you mean 'strict'"),
        ({"products": 99}, "products must be at least 100, not 99"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"reward": -1.0}, "reward must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        WebshopSpec(**settings)


def test_unknown_names_are_refused():
    spec = WebshopSpec(products=100)
    for call in (spec.tasks, spec.panel):
        with pytest.raises(ConfigError, match=r"did you mean|choose from"):
            call("trian")
    with pytest.raises(ConfigError, match="did you mean 'shopper'"):
        spec.expert("shoper", spec.make(), spec.tasks("train")[0], 0)
    with pytest.raises(DataError, match="panel 'webshop-500' of webshop needs data"):
        spec.panel("webshop-500")
    with pytest.raises(DataError, match="needs semantics = 'official'"):
        spec.panel("official-128")


def test_missing_data_is_told(tmp_path):
    with pytest.raises(DataError, match="`sdar data download webshop` gets it"):
        WebshopSpec(data=str(tmp_path)).tasks("train")


@pytest.mark.parametrize("prompt", ["full", "compact"])
@pytest.mark.parametrize("parsing", ["published", "strict"])
def test_it_keeps_the_contract(prompt, parsing):
    check_env(WebshopSpec(products=200, prompt=prompt, parsing=parsing), 2)


def test_official_mode_keeps_the_contract(tmp_path):
    write_generated(tmp_path, 200)
    check_env(WebshopSpec(data=str(tmp_path), products=0, semantics="official"), 2)


def test_the_generated_panel_does_not_depend_on_the_settings():
    for settings in ({}, {"products": 150}, {"semantics": "official"}, {"prompt": "full", "seed": 3}):
        panel = WebshopSpec(**settings).panel("generated-128")
        assert (len(panel.tasks), panel.fingerprint[:12]) == (128, "bf12e7f6f7c6")


def test_panels_of_real_products(shared_data):
    spec = WebshopSpec(data=str(shared_data / "webshop"))
    assert spec.panels() == ("webshop-500", "webshop-human", "generated-128")
    assert (len(spec.tasks("train")), len(spec.tasks("held_out"))) == (4906, 2004)
    panel = spec.panel("webshop-500")
    assert (len(panel.tasks), panel.fingerprint[:12]) == (500, "a265a8640074")
    trained = {task.payload.goal.asin for task in spec.tasks("train")}
    for name, size in (("webshop-500", 500), ("webshop-human", 13)):
        tasks = spec.panel(name).tasks
        assert len(tasks) == size
        assert not trained & {task.payload.goal.asin for task in tasks}


def test_official_splits_are_those_of_the_workers(shared_data):
    spec = WebshopSpec(data=str(shared_data / "webshop"), semantics="official")
    train, panel = spec.tasks("train"), spec.panel("official-128").tasks
    assert (len(train), len(panel)) == (16 * 6410, 128)
    assert [train[place].id for place in (0, 6409, 6410, -1)] == [
        "official/0/500", "official/0/6909", "official/1/500", "official/15/6909",
    ]  # fmt: skip
    goals = train[6410].payload.goals
    assert train[6410].payload.goal == goals[goals.shuffled()[500]]
    assert panel[3].id.startswith("official/1003/")
    wishes = {(task.payload.goal.asin, task.payload.goal.options) for task in train[: 6410 * 2]}
    leaked = sum((task.payload.goal.asin, task.payload.goal.options) in wishes for task in panel)
    assert leaked > 120


def test_an_episode():
    spec = WebshopSpec(products=200, prompt="full")
    env = spec.make()
    task = spec.tasks("train")[0]
    first = env.reset(task)
    assert first.admissible == ("search[<your query>]", "click[search]")
    step = env.step("<think>I look for it.</think><action>Search[Shirt]</action>")
    assert (step.action, step.valid, step.reward, step.done) == ("search[shirt]", True, 0.0, False)
    step, score = play(spec, task, "insider")
    assert (step.reward, step.done, step.success, step.truncated, score) == (10.0, True, True, False, 1.0)


def test_buying_the_wrong_thing_is_no_success():
    spec = WebshopSpec(products=200)
    env = spec.make()
    task = next(task for task in spec.tasks("train") if task.payload.goal.options)
    env.reset(task)
    product = task.payload.shop.catalogue[task.payload.goal.asin]
    for answer in (f"search {product.title}", "click 1", "click buy now"):
        step = env.step(answer)
        assert step.done or step.metrics == {"score": 0.0}
    assert (step.done, step.success, step.reward) == (True, False, 0.0)
    assert 0.0 < step.metrics["score"] < 1.0
    assert env.step("search x") is step


def test_an_episode_is_cut():
    spec = WebshopSpec(products=200, max_turns=3)
    env = spec.make()
    env.reset(spec.tasks("train")[0])
    steps = [env.step("search shirt") for _ in range(4)]
    assert [step.truncated for step in steps] == [False, False, True, True]
    assert steps[3] is steps[2]


def test_products_are_called_by_number_or_by_asin():
    for prompt, names in (("compact", ["click[1]", "click[2]"]), ("full", ["click[b0"])):
        env = WebshopSpec(products=200, prompt=prompt).make()
        env.reset(WebshopSpec(products=200).tasks("train")[0])
        answer = "search shirt" if prompt == "compact" else "<think></think><action>search[shirt]</action>"
        shown = env.step(answer).observation.admissible
        assert shown[:2] == ("click[back to search]", "click[next >]")
        assert all(action.startswith(name) for action, name in zip(shown[2:], names, strict=False))


def test_experts_are_as_good_as_they_should_be():
    spec = WebshopSpec()
    tasks = spec.panel("generated-128").tasks[::2]
    wins = {name: sum(play(spec, task, name)[0].success for task in tasks) for name in spec.experts()}
    assert wins["insider"] == 64
    assert wins["shopper"] >= 54
    assert wins["random"] <= 3
    assert 6 <= wins["hasty"] <= 26
    noisy = sum(play(spec, task, "shopper", 0.4)[0].success for task in tasks)
    assert wins["random"] < noisy < wins["shopper"]


@pytest.mark.parametrize("prompt", ["full", "compact"])
def test_experts_advise_about_any_page(prompt):
    spec = WebshopSpec(products=200, prompt=prompt)
    task = spec.tasks("train")[5]
    env = spec.make()
    advisers = [spec.expert(name, env, task, 0) for name in ("shopper", "random")]
    observation = env.reset(task)
    texts = [
        "search sofa",
        "search shirt",
        "click next >",
        "click next >",
        "click 1",
        "click features",
        *HOSTILE,
    ]
    for text in texts[:15]:
        for adviser in advisers:
            assert adviser.act(observation)
        wrapped = f"<think></think><action>{re.sub(' ', '[', text, count=1)}]</action>"
        observation = env.step(text if prompt == "compact" else wrapped).observation


def test_one_catalogue_for_all(tmp_path):
    for name, content in (("shuffle", ITEMS), ("ins_v2", EXTRA), ("human_ins", HUMAN)):
        (tmp_path / f"items_{name}.json").write_text(json.dumps(content))
    one, two = WebshopSpec(data=str(tmp_path)), WebshopSpec(data=str(tmp_path), prompt="full")
    assert one.shop.catalogue is two.shop.catalogue
    assert one.shop.goals() is two.shop.goals()
    assert one.panels() == ("webshop-500", "webshop-human", "generated-128")
