"""Prompt files, and what is read out of a checkout of the published code; all templates here are made up."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec
from sdar.envs.prompt_files import LARGEST, Template, Templates, read_prompts, to_text
from sdar.envs.published_prompts import FOLDER, MODULES, import_prompts
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.webshop.spec import WebshopSpec
from sdar.errors import ConfigError, DataError
from sdar.types import Observation

TEXTS = {
    "alfworld": (
        "See {current_observation}|do [{admissible_actions}]",
        "{task_description}|{step_count}|{history_length}|{action_history}|{current_step}|{current_observation}|"
        "[{admissible_actions}]",
    ),
    "webshop": (
        "Buy {task_description}|{current_observation}|{available_actions}",
        "Buy on {task_description}|{step_count}|{history_length}|{action_history}|{current_step}|"
        "{current_observation}|{available_actions}",
    ),
    "search_qa": (
        "Ask {task_description}",
        'Go on "{task_description}" {{\\}}\n{step_count}\n{memory_context}\n',
    ),
}
SPECS: dict[str, type[EnvSpec]] = {
    "alfworld": AlfworldSpec,
    "webshop": WebshopSpec,
    "search_qa": SearchQASpec,
}


def made(env: str) -> Templates:
    return Templates.of(env, dict(zip(("first", "later"), TEXTS[env], strict=True)), env)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "mine.toml"
    place.write_text(to_text({env: made(env) for env in TEXTS}, "mine"), encoding="utf-8")
    return place


def test_alfworld_as_published(file: Path) -> None:
    prompts = AlfworldSpec(prompt=file).prompts()
    room = "Welcome.\n\nYour task is to: put a mug in desk.\n"
    first = Observation(room, "put a mug in desk", ("go to desk 1", "help", "look"))
    later = Observation("A desk {1}.", first.goal, ("look",))
    (message,) = prompts.opening(first)
    assert message.content == f"See {room}|do ['go to desk 1'\n 'look']"
    assert prompts.window(first, [], first, 0) == (message,)
    history = [(first, "go to desk 1"), (later, "look")]
    (message,) = prompts.window(first, history, later, 5)
    past = f"[Observation 4: '{room}', Action 4: 'go to desk 1']\n"
    past += "[Observation 5: 'A desk {1}.', Action 5: 'look']"
    assert message.content == f"put a mug in desk.|5|2|{past}|6|A desk {{1}}.|['look']"
    (message,) = prompts.window(first, [], later, 5)  # with a history of 0 turns
    assert message.content == "See A desk {1}.|do ['look']"


def test_webshop_as_published(file: Path) -> None:
    prompts = WebshopSpec(prompt=file).prompts()
    start = "WebShop [SEP] Instruction: [SEP] Find me a mug [SEP] Search"
    first = Observation(start, "Find me a mug", ("search[<your query>]", "click[search]"))
    page = Observation(
        "Instruction: [SEP] Find me a mug [SEP] Back to Search [SEP] $5", first.goal, ("click[<]",)
    )
    (message,) = prompts.opening(first)
    assert message.content == "Buy Find me a mug|'Search'|'search[<your query>]',\n'click[search]',"
    (message,) = prompts.window(first, [(first, "search[mug]")], page, 1)
    now = "'Back to Search' [SEP] '$5'|'click[<]',"
    assert message.content == (
        f"Buy on Find me a mug|1|1|[Observation 1: ''Search'', Action 1: 'search[mug]']|2|{now}"
    )
    for length, begins in ((13_000, "Buy on"), (13_001, "Buy Find me")):
        action = "x" * (length - len(message.content) + len("search[mug]"))
        (long,) = prompts.window(first, [(first, action)], page, 1)
        assert long.content.startswith(begins)
    assert long.content == f"Buy Find me a mug|{now}"


def test_search_qa_as_published(file: Path) -> None:
    prompts = SearchQASpec(prompt=file).prompts()
    first = Observation("Who?", "Who?")
    found, nothing = Observation("<information>1</information>", "Who?"), Observation("", "Who?")
    assert prompts.opening(first)[0].content == "Ask Who?"
    (message,) = prompts.window(first, [(first, "search a b"), (found, "")], nothing, 2)
    past = "Step 1:<search>a b</search> <information>1</information>\n\nStep 2: \n"
    assert message.content == f'Go on "Who?" {{\\}}\n2\n{past}\n'


def test_settings_say_what_the_templates_were(file: Path) -> None:
    spec = SearchQASpec(prompt=file)
    mark = hashlib.sha256("\0".join(TEXTS["search_qa"]).encode()).hexdigest()[:16]
    assert str(spec.prompt) == f"{file}#{mark}"
    assert replace(spec, top_k=4).prompt == spec.prompt
    moved = file.rename(file.with_name("moved.toml"))
    assert (
        SearchQASpec(prompt=moved).fingerprint == spec.fingerprint != SearchQASpec(prompt="full").fingerprint
    )
    other = moved.read_text().replace("Ask", "Tell")
    file.write_text(other)
    assert SearchQASpec(prompt=file).fingerprint != spec.fingerprint
    assert AlfworldSpec(prompt=file).fingerprint == AlfworldSpec(prompt=moved).fingerprint
    with pytest.raises(ConfigError, match=r"mine\.toml has other prompts of search_qa than .* --env\.prompt"):
        replace(spec, top_k=4)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{task_descripton}", "unknown field '{task_descripton}': did you mean 'task_description'?"),
        ("{}", "unknown field '{}': choose from"),
        ("{task_description.__class__}", "unknown field"),
        ("{task_description!r}", "unknown field"),
        ("{task_description:>999999999}", "unknown field"),
        ("{step_count}", "unknown field '{step_count}'"),
        ("{", "brace"),
        (" ", "must be a text"),
    ],
)
def test_a_bad_template_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[search_qa]\nfirst = '{text}'\nlater = 'x'\n")
    with pytest.raises(DataError, match=r"mine\.toml: search_qa\.first ") as error:
        SearchQASpec(prompt=file)
    assert complaint in str(error.value)


def test_a_bad_file_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown prompt 'ful': did you mean 'full'\?"):
        AlfworldSpec(prompt="ful")
    with pytest.raises(ConfigError, match=r"no prompt file .*absent\.toml; `sdar prompts import`"):
        AlfworldSpec(prompt=tmp_path / "absent.toml")
    bad = tmp_path / "bad.toml"
    for text, complaint in {
        "[webshp]": r"bad\.toml has no prompts of webshop: none",
        "[webshop]\nfirst = 'x'\nlast = 'y'": r"bad\.toml: webshop\.last is not known: did you mean 'later'",
        "[webshop]\nfirst = 1\nlater = 'y'": r"bad\.toml: webshop\.first must be a text",
        "a = " + "[" * 100_000: r"bad\.toml is not valid TOML",
        "#" * (LARGEST + 1): "no prompt file: it has more than",
    }.items():
        bad.write_text(text)
        with pytest.raises((ConfigError, DataError), match=complaint):
            WebshopSpec(prompt=bad)


def test_texts_survive_the_file(tmp_path: Path) -> None:
    odd = 'a "quoted" \'\'\' """ \\n \\ \t end\r\n\x00\x7f\u2011"'
    file = tmp_path / "odd.toml"
    templates = Templates(Template(odd, ()), Template("\n" + odd, ()))
    file.write_text(to_text({"webshop": templates}, "odd"), encoding="utf-8", newline="")
    found = read_prompts(file, "webshop")
    assert (found.first.text, found.later.text) == (odd, "\n" + odd)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a checkout has, with code that would be noticed if it ran."""
    folder = tmp_path / "code" / FOLDER
    folder.mkdir(parents=True)
    for env, (module, *names) in MODULES.items():
        lines = [f"{name} = {text!r}" for name, text in zip(names, TEXTS[env], strict=True)]
        text = "\n".join(
            ["import nowhere", f"{names[0]} = 'old'", *lines, "OTHER = '\\d' + 1", "raise SystemExit"]
        )
        (folder / module).write_text(text)
    return tmp_path / "code"


def test_templates_are_read_and_nothing_is_run(checkout: Path) -> None:
    found = import_prompts(checkout)
    assert {env: (t.first.text, t.later.text) for env, t in found.items()} == TEXTS


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("SEARCH_TEMPLATE = 'x'\nSEARCH_TEMPLAT_NO_HIS = 'x'", "did you mean 'SEARCH_TEMPLAT_NO_HIS'"),
        ("SEARCH_TEMPLATE_NO_HIS = 'a' + 'b'", "assigns no text to SEARCH_TEMPLATE_NO_HIS"),
        ("SEARCH_TEMPLATE_NO_HIS = f'{open}'", "assigns no text to SEARCH_TEMPLATE_NO_HIS"),
        ("SEARCH_TEMPLATE_NO_HIS = SEARCH_TEMPLATE = '{task}'", "unknown field '{task}'"),
        ("x = '\\ud800'", "cannot be parsed"),
        ("def", "cannot be parsed"),
        ("\0", "cannot be parsed"),
        ("-" * 200_000 + "1", "cannot be parsed"),
        ("a" + ".b" * 100_000, "cannot be parsed"),
        ("#" * (LARGEST + 1), "has more than"),
    ],
)
def test_a_hostile_module_is_named(source: str, complaint: str, checkout: Path) -> None:
    (checkout / FOLDER / "search.py").write_text(source)
    with pytest.raises(DataError, match=r"search\.py") as error:
        import_prompts(checkout)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_outside_the_checkout_is_read(checkout: Path, tmp_path: Path) -> None:
    module = checkout / FOLDER / "webshop.py"
    module.rename(tmp_path / "outside.py")
    with pytest.raises(DataError, match=r"webshop\.py is not there: name the top of a checkout"):
        import_prompts(checkout)
    module.symlink_to(tmp_path / "outside.py")
    with pytest.raises(DataError, match=r"webshop\.py is a link to a file outside"):
        import_prompts(checkout)
    module.unlink()
    module.symlink_to(module)
    with pytest.raises(DataError, match=r"webshop\.py"):
        import_prompts(checkout)
    with pytest.raises(DataError, match="is no directory"):
        import_prompts(tmp_path / "outside.py")
