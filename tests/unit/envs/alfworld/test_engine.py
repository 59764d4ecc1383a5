"""The native engine in a small kitchen where things have every property; texts as TextWorld gives them."""

import itertools
import pickle
import random
from pathlib import Path

import pytest

from sdar.envs.alfworld.engine import Episode, Game, Goal, Kind, Rules
from sdar.envs.alfworld.text import HELP, condition
from sdar.errors import DataError

KITCHEN = (Path(__file__).parent / "kitchen.pddl").read_text()
NOTHING = "Nothing happens."
PLACED = "(:goal (and (exists (?r - receptacle) (exists (?o - object) (and {} )))))"
GOALS = {
    Kind.PUT: PLACED.format("(inReceptacle ?o ?r) (objectType ?o MugType) (receptacleType ?r SideTableType)"),
    Kind.CLEAN: PLACED.format(
        "(cleanable ?o) (objectType ?o AppleType) (receptacleType ?r FridgeType) (isClean ?o)"
        " (inReceptacle ?o ?r)"
    ),
    Kind.HEAT: PLACED.format(
        "(heatable ?o) (objectType ?o EggType) (receptacleType ?r CounterTopType) (isHot ?o)"
        " (inReceptacle ?o ?r)"
    ),
    Kind.COOL: PLACED.format(
        "(coolable ?o) (objectType ?o MugType) (receptacleType ?r CabinetType) (isCool ?o)"
        " (inReceptacle ?o ?r)"
    ),
    Kind.TWO: "(:goal (and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 MugType)"
    " (receptacleType ?r SideTableType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))"
    " (objectType ?o2 MugType) (receptacleType ?r SideTableType) (inReceptacle ?o2 ?r))))))))",
    Kind.LOOK: "(:goal (and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and"
    " (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l)"
    " (atLocation ?a ?l) (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and"
    " (objectType ?o MugType) (holds ?a ?o)))))",
}
WINS = {
    Kind.PUT: ["go to fridge 1", "open fridge 1", "take mug 1 from fridge 1", "go to sidetable 1",
               "put mug 1 in/on sidetable 1"],
    Kind.CLEAN: ["go to countertop 1", "take apple 2 from countertop 1", "go to sinkbasin 1",
                 "clean apple 2 with sinkbasin 1", "go to fridge 1", "open fridge 1",
                 "put apple 2 in/on fridge 1"],
    Kind.HEAT: ["go to cabinet 1", "take egg 1 from cabinet 1", "go to microwave 1",
                "heat egg 1 with microwave 1", "go to countertop 1", "put egg 1 in/on countertop 1"],
    Kind.COOL: ["go to cabinet 2", "open cabinet 2", "take mug 2 from cabinet 2", "go to fridge 1",
                "cool mug 2 with fridge 1", "go to cabinet 2", "put mug 2 in/on cabinet 2"],
    Kind.TWO: ["go to fridge 1", "open fridge 1", "take mug 1 from fridge 1", "go to sidetable 1",
               "put mug 1 in/on sidetable 1", "go to cabinet 2", "open cabinet 2",
               "take mug 2 from cabinet 2", "go to sidetable 1", "put mug 2 in/on sidetable 1"],
    Kind.LOOK: ["go to fridge 1", "open fridge 1", "take mug 1 from fridge 1", "go to sidetable 1",
                "use desklamp 2"],
}  # fmt: skip


def problem(kind: Kind = Kind.PUT, *edits: tuple[str, str]) -> str:
    text = KITCHEN[: KITCHEN.index("(:goal")] + GOALS[kind] + "\n)\n"
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def kitchen(kind: Kind = Kind.PUT, rules: Rules = Rules.V2_1_1, *edits: tuple[str, str]) -> Game:
    return Game.parse(problem(kind, *edits), "put some mug on sidetable", rules, "kitchen")


def play(game: Game, *commands: str) -> tuple[Episode, list[str]]:
    episode = Episode(game)
    return episode, [episode.step(command) for command in commands]


def test_the_introduction_lists_the_room_by_descending_number() -> None:
    assert Episode(kitchen()).reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you,"
        " you see a cabinet 2, a cabinet 1, a countertop 1, a drawer 1, a fridge 1, a microwave 1, a"
        " sidetable 1, and a sinkbasin 1.\n\nYour task is to: put some mug on sidetable."
    )


def test_a_room_can_start_at_a_receptacle() -> None:
    game = kitchen(Kind.PUT, Rules.V2_1_1, ("agent1 loc_bar_9", "agent1 loc_bar_2"))
    facing = "You are facing the countertop 1, and drawer 1. Next to it, you see nothing."
    assert facing in Episode(game).reset()
    assert Episode(game).step("look") == facing


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("rules", list(Rules))
def test_each_kind_is_won_at_the_last_step_and_not_before(kind: Kind, rules: Rules) -> None:
    episode = Episode(kitchen(kind, rules))
    for command in WINS[kind]:
        assert not episode.won
        if rules is Rules.V2_1_2 and command.startswith("put"):
            assert episode.step(command) == NOTHING
            command = command.replace("put", "move").replace("in/on", "to")
        assert command in episode.admissible
        assert episode.step(command) != NOTHING
    assert episode.won


def test_goals_are_read() -> None:
    assert kitchen(Kind.COOL).target == Goal(Kind.COOL, "mug", "cabinet")
    assert kitchen(Kind.LOOK).target == Goal(Kind.LOOK, "mug", "desklamp")


def test_the_texts_of_release_2_1_1() -> None:
    _, texts = play(
        kitchen(),
        "go to countertop 1",
        "take knife 1 from countertop 1",
        "inventory",
        "examine knife 1",
        "slice apple 2 with knife 1",
        "put knife 1 in/on countertop 1",
        "take apple 2 from countertop 1",
        "examine apple 2",
        "go to fridge 1",
        "open fridge 1",
        "cool apple 2 with fridge 1",
        "examine apple 2",
        "close fridge 1",
        "put apple 2 in/on fridge 1",
        "help",
    )
    assert texts == [
        "You arrive at loc 6. On the countertop 1, you see a apple 2, a apple 1, a bread 1, and a knife 1.",
        "You pick up the knife 1 from the countertop 1.",
        "You are carrying: a knife 1.",
        "There's nothing special about knife 1.",
        "You sliced the apple 2 with the knife 1.",
        "You put the knife 1 in/on the countertop 1.",
        "You pick up the apple 2 from the countertop 1.",
        "This is a sliced apple 2.",
        "You arrive at loc 5. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a mug 1.",
        "You cool the apple 2 using the fridge 1.",
        "This is a cool sliced apple 2.",
        "You close the fridge 1.",
        NOTHING,
        NOTHING,
    ]


def test_the_texts_of_release_2_1_2() -> None:
    _, texts = play(
        kitchen(Kind.PUT, Rules.V2_1_2),
        "help",
        "go to fridge 1",
        "open fridge 1",
        "take mug 1 from fridge 1",
        "put mug 1 in/on fridge 1",
        "move mug 1 to fridge 1",
    )
    assert texts == [
        HELP,
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a mug 1.",
        "You pick up the mug 1 from the fridge 1.",
        NOTHING,
        "You move the mug 1 to the fridge 1.",
    ]


def test_admissible_commands_are_sorted_and_complete() -> None:
    episode, _ = play(kitchen(), "go to cabinet 1")
    assert episode.admissible == (
        "close cabinet 1",
        "examine cabinet 1",
        "examine cabinet 2",
        "go to countertop 1",
        "go to drawer 1",
        "go to fridge 1",
        "go to microwave 1",
        "go to sidetable 1",
        "go to sinkbasin 1",
        "inventory",
        "look",
        "open cabinet 2",
        "take egg 1 from cabinet 1",
        "take pot 1 from cabinet 1",
    )


def test_rules_that_look_odd() -> None:
    episode, texts = play(
        kitchen(),
        "go to drawer 1",
        "go to countertop 1",
        "examine knife 1",
        "use desklamp 1",
        "take apple 1 from countertop 1",
        "go to sinkbasin 1",
        "put apple 1 in/on sinkbasin 1",
    )
    assert texts[1] == NOTHING  # it stands where the drawer stands
    assert texts[2] == NOTHING  # not in hand
    assert texts[3] == "You turn on the desklamp 1."  # in a closed drawer, and already on
    assert texts[5].endswith("you see a apple 1.")  # in two receptacles at once
    assert episode.step("look").endswith("Next to it, you see nothing.")
    episode.step("take apple 1 from sinkbasin 1")
    assert episode.step("put apple 1 in/on sinkbasin 1") == "You put the apple 1 in/on the sinkbasin 1."
    _, texts = play(
        kitchen(),
        "go to cabinet 1",
        "take pot 1 from cabinet 1",
        "examine pot 1",
        "open cabinet 2",
        "put pot 1 in/on cabinet 2",
        "look",
    )
    assert texts[2] == "This is a normal pot 1. In it, you see a egg 1."
    assert texts[5] == "You are facing the cabinet 2, and cabinet 1. Next to it, you see a pot 1."


def test_every_command_that_can_be_formed_is_admissible_or_changes_nothing() -> None:
    """Both engines decide by name; the list of admissible commands and the handlers must never disagree."""
    game = kitchen(Kind.PUT, Rules.V2_1_2)
    things = [name for name in game.names if not name.startswith("loc ")]
    forms = ["take {} from {}", "move {} to {}", "clean {} with {}", "heat {} with {}", "cool {} with {}",
             "slice {} with {}", "put {} in/on {}"]  # fmt: skip
    pool = [form.format(*pair) for form in forms for pair in itertools.product(things, repeat=2)]
    pool += [f"{verb} {name}" for verb in ("go to", "open", "close", "examine", "use") for name in game.names]
    pool += ["look", "inventory", "help"]
    dice, episode = random.Random(0), Episode(game)
    for _ in range(40):
        before = episode.admissible
        answers = {command for command in pool if episode.copy().step(command) != NOTHING}
        assert answers == set(before)
        episode.step(dice.choice([c for c in before if not c.startswith("go to")] * 2 + list(before)))


def test_copies_and_episodes_are_independent() -> None:
    game = kitchen()
    first, _ = play(game, "go to fridge 1", "open fridge 1")
    second = first.copy()
    second.step("take mug 1 from fridge 1")
    assert "take mug 1 from fridge 1" in first.admissible
    assert first.step("examine fridge 1").endswith("you see a mug 1.")
    assert second.step("examine fridge 1").endswith("you see nothing.")
    assert Episode(game).step("go to fridge 1").endswith("The fridge 1 is closed.")
    intro = second.reset()
    assert intro == Episode(game).reset()
    assert second.admissible == Episode(game).admissible


def test_games_and_episodes_can_be_pickled() -> None:
    episode, _ = play(kitchen(), "go to fridge 1", "open fridge 1")
    twin = pickle.loads(pickle.dumps(episode))
    assert twin.admissible == episode.admissible
    assert twin.step("take mug 1 from fridge 1") == "You pick up the mug 1 from the fridge 1."


@pytest.mark.parametrize(
    "command",
    [
        "",
        " ",
        "\x00",
        "intro",
        "go to",
        "go to mug 1",
        "open mug 1",
        "take fridge 1 from mug 1",
        "GO TO fridge 1",
        "go  to fridge 1",
        "go to fridge 01",
        "go to fridge \u0661",
        "take mug 1",
        "put",
        "use fridge 1",
        "\u6253\u5f00 \u51b0\u7bb1 1",
        "go to loc 5",
        "examine loc 5",
        "x" * 100_000,
        "go to " * 20_000,
        "\ud800",
        "<action>look</action>",
    ],
)
def test_hostile_commands_change_nothing(command: str) -> None:
    episode = Episode(kitchen())
    before = episode.admissible
    assert episode.step(command) == NOTHING
    assert episode.admissible == before
    assert not episode.won


def test_blanks_around_a_command_do_not_matter() -> None:
    assert Episode(kitchen()).step("\n go to fridge 1\t") == "You arrive at loc 5. The fridge 1 is closed."


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        ("", "There's nothing special about cup 1."),
        ("c", "This is a clean cup 1."),
        ("h", "This is a hot cup 1."),
        ("k", "This is a cold cup 1."),
        ("ch", "This is a hot and clean cup 1."),
        ("l", "This cup 1 is on."),
        ("ck", "This is a cool and clean cup 1."),
        ("s", "There's nothing special about cup 1."),
        ("sa", "This is a sliced cup 1."),
        ("cs", "This is a clean sliced cup 1."),
        ("a", "There's nothing"),
        ("hs", "This is a hot sliced cup 1."),
        ("ks", "This is a cool sliced cup 1."),
        ("cl", "This is a clean cup"),
        ("chs", "This is a hot and clean sliced cup 1."),
        ("cks", "This is a cool and clean sliced cup 1."),
        ("chks", "This is a hot and clean sliced cup 1."),
        ("hk", "This is a hot cup 1."),
        ("lsa", "This cup 1 is on."),
    ],
)
def test_conditions(marks: str, text: str) -> None:
    said = condition(
        "cup 1",
        clean="c" in marks,
        hot="h" in marks,
        cool="k" in marks,
        sliced="s" in marks,
        lit="l" in marks,
        sliceable="a" in marks,
    )
    assert said.startswith(text)


INIT = "    (atLocation agent1 loc_bar_9)\n"


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([(INIT, INIT + "(holds agent1 Mug_bar_1)")], "holds"),
        ([(INIT, INIT + "(= (total-cost) 0)")], "more than plain facts"),
        ([(INIT, "")], "start at one location"),
        ([(INIT, INIT + "(atLocation agent1 loc_bar_1)")], "start at one location"),
        ([(INIT, INIT + "(openable Oven_bar_1)")], "oven_bar_1, which is not declared"),
        ([(INIT, INIT + "(openable Mug_bar_1)")], "mug_bar_1, which is not declared as receptacle"),
        ([(INIT, INIT + "(openable Fridge_bar_1 loc_bar_1)")], "1 arguments"),
        ([(INIT, INIT + "(receptacleAtLocation Fridge_bar_1 loc_bar_9)")], "two locations"),
        ([("Window_bar_1", "Window")], "coordinates"),
        ([("(:domain alfred)", "(:domain other)")], "not an ALFRED problem"),
        ([("    MugType - otype", "    MugType PlateType - otype")], "one by one"),
        ([("(inReceptacle ?o ?r) (objectType", "(not (inReceptacle ?o ?r)) (objectType")], "six kinds"),
        ([("?o MugType", "?o CupType")], "no sequence"),
        ([("(canContain SideTableType MugType)", "")], "no sequence"),
        ([("(pickupable Mug_bar_1)", ""), ("(pickupable Mug_bar_2)", "")], "no sequence"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(edits: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(DataError, match=f"game kitchen .*{reason}"):
        kitchen(Kind.PUT, Rules.V2_1_1, *edits)


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        (Kind.HEAT, ("MicrowaveType)", "DrawerType)")),
        (Kind.CLEAN, ("SinkBasinType)", "DrawerType)")),
        (Kind.COOL, ("(coolable Mug_bar_1)", "")),
        (Kind.TWO, ("(pickupable Mug_bar_2)", "")),
        (Kind.LOOK, ("?ot DeskLampType", "?ot FloorLampType")),
        (Kind.LOOK, ("(toggleable DeskLamp_bar_1)\n    (toggleable DeskLamp_bar_2)", "")),
    ],
)
def test_games_that_cannot_be_won_are_refused(kind: Kind, edit: tuple[str, str]) -> None:
    kitchen(kind)
    with pytest.raises(DataError, match="no sequence of commands"):
        kitchen(kind, Rules.V2_1_1, edit)


def test_comments_and_repeated_facts_do_not_matter() -> None:
    game = kitchen(Kind.PUT, Rules.V2_1_1, (INIT, f"; (holds agent1 x)\n{INIT}{INIT}"))
    assert Episode(game).admissible == Episode(kitchen()).admissible
