"""The viewer's page in a real browser: it shows what is in the files, and untrusted text is only text."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.viewed import CONFIG, add_panel, add_step, episode, view_run

from sdar.runs.rundir import RunDir, read_trajectories
from sdar.viewer.export import export
from sdar.viewer.library import Library
from sdar.viewer.server import ViewServer

selenium = pytest.importorskip("selenium", reason="selenium is not installed (pip install 'sdar[dev]')")
from selenium import webdriver  # noqa: E402
from selenium.webdriver import ActionChains, Keys  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1; alert(1)'>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "chromium or chromedriver is not installed (Debian: apt install chromium chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def name(run: RunDir, step: int, place: int, part: str = "training") -> str:
    """What an episode is called in the page."""
    return f"{next(iter(Library([run]).indexes))}/{part}/{step}/{place}"


def at(run: RunDir, step: int, place: int, part: str = "training") -> str:
    """The address of an episode."""
    return f"#/episodes/{name(run, step, place, part)}"


class Page:
    """The open page, and what a user does with it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def go(self, address: str) -> None:
        """Open an address; an empty page in between makes sure that it is loaded anew."""
        self.driver.get("about:blank")
        self.driver.get(address)
        self.until(lambda: self.all(".counts, .curves, .run-page, .tasks, .empty"))

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector))[0]

    def texts(self, selector: str) -> list[str]:
        """What can be read, asked for at once: the page may draw anew at any time."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        return list(self.driver.execute_script(script, selector))

    def run(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def until(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 30, 0.05).until(lambda _: condition())

    def choose(self, field: str, value: str) -> None:
        Select(self.one(f"#filter-{field}")).select_by_value(value)

    def type(self, field: str, text: str) -> None:
        box = self.one(f"#filter-{field}")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.BACKSPACE, text)

    @property
    def count(self) -> str:
        return self.texts(".counts span")[0]


@pytest.fixture
def page(chromium: webdriver.Chrome) -> Iterator[Page]:
    """A page that must not complain: a refused script or a failed request is an error of the test."""
    yield Page(chromium)
    complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    chromium.get("about:blank")
    assert complaints == []


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve some runs; the address of the page."""
    servers: list[ViewServer] = []

    def start(*runs: RunDir) -> str:
        servers.append(ViewServer(Library(runs)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_filters(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.go(serve(view_run(tmp_path, "a", steps=3), view_run(tmp_path, "b", steps=3, seed=1)) + "#/episodes")
    page.until(lambda: page.count == "24 of 24 episodes")
    page.choose("kind", "heat")
    assert page.count == "8 of 24 episodes"
    assert all("heat" in text for text in page.texts(".row"))
    page.choose("success", "yes")
    assert page.count == "4 of 24 episodes"
    assert set(page.texts(".row .mark")) == {"✓"}
    page.choose("run", page.run("document.querySelector('#filter-run').options[2].value"))
    assert page.count == "2 of 24 episodes"
    for field in ("kind", "success", "run"):
        page.choose(field, "")
    page.choose("skill", "cool")
    assert page.count == "8 of 24 episodes"
    page.choose("skill", "general")
    page.type("text", "STEP 2")
    assert page.count == "8 of 24 episodes"
    page.type("text", "")
    page.type("from", "2")
    assert page.count == "16 of 24 episodes"
    page.type("least", "10")
    assert page.count == "8 of 24 episodes"


def test_hovering_shows_the_exact_values(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path)
    page.go(serve(run) + at(run, 2, 1))
    turn = read_trajectories(run, 2)[1]["turns"][0]
    for place in (1, 3):
        token = page.one(f".token[data-turn='0'][data-place='{place}']")
        ActionChains(page.driver).move_to_element(token).perform()
        page.until(partial(str.__contains__, str(page.one("#tip").text), str(turn["tokens"][place])))
        for name in ("gap", "gate", "adv", "entropy", "logp"):
            [shown] = page.texts(f"#tip [data-stream='{name}']")
            assert float(shown) == turn[name][place]
        assert turn["pieces"][place] in page.one("#tip .word").text


def test_colours(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path)
    page.go(serve(run) + at(run, 1, 0))
    assert page.one("[aria-pressed='true']").text == "gap"
    first = page.one(".token[data-turn='0'][data-place='1']")
    assert "ink-orange" in first.get_attribute("class")
    assert "ink-blue" in page.one(".token[data-turn='0'][data-place='2']").get_attribute("class")
    strength = [
        float(
            page.run(
                f"document.querySelectorAll('.pane .tokens .token')[{i}].style.getPropertyValue('--strength')"
            )
        )
        for i in (1, 3)
    ]
    assert 0 < strength[0] < strength[1]
    page.one("button[data-stream='gate']").click()
    assert "ink-green" in page.one(".token[data-turn='0'][data-place='1']").get_attribute("class")
    assert "closed" in page.one(".legend").text
    page.one("button[data-stream='adv']").click()
    assert "ink-orange" in page.one(".token[data-turn='0'][data-place='1']").get_attribute("class")


def test_the_teachers_context_beside_the_students(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    run = view_run(tmp_path)
    page.go(serve(run) + at(run, 1, 0))
    page.one("[data-role='contexts'][open]")
    assert page.texts("[data-role='contexts'] .added") == ["Skills for this task:\nHow to cool.\n"]
    student, teacher = page.texts("[data-role='contexts'] pre")
    assert "Your task: go." in student
    assert "Skills" not in student
    assert "Your task: go." in teacher
    assert page.texts(".turn .badge") == ["invalid action"]


def test_side_by_side(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path, steps=4)
    page.go(serve(run) + at(run, 1, 0))
    labels = page.until(lambda: page.texts(".pane .chips"))
    assert ["same group" in label for label in labels] == [False, True, False]
    assert "step 4" in labels[2]
    page.all(".pane .chips a")[0].click()
    page.until(lambda: len(page.all(".pane")) == 2)
    assert [pane.get_attribute("data-id") for pane in page.all(".pane")] == [name(run, 1, 0), name(run, 1, 1)]
    page.all(".pane")[0].find_elements(By.CSS_SELECTOR, ".chips a")[-1].click()
    page.until(lambda: page.all(f".pane[data-id='{name(run, 4, 3)}']"))
    page.all(".pane .close")[0].click()
    page.until(lambda: [pane.get_attribute("data-id") for pane in page.all(".pane")] == [name(run, 4, 3)])


def test_keys(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path)
    page.go(serve(run) + "#/episodes")
    body = page.one("body")
    body.send_keys(Keys.ARROW_DOWN)
    page.until(lambda: page.all(f".pane[data-id='{name(run, 2, 0)}']"))
    page.one(".rows").send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    page.until(lambda: page.all(f".pane[data-id='{name(run, 2, 2)}']"))
    body.send_keys("c")
    assert page.one("[aria-pressed='true']").text == "gate"
    body.send_keys(Keys.ARROW_RIGHT)
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.run("document.activeElement.dataset.place") == "1"
    assert page.one("#tip").is_displayed()
    body.send_keys("gc")
    page.until(lambda: page.all(".curves"))
    body.send_keys("?")
    assert page.one("dialog").is_displayed()


def test_hostile_text_is_only_text(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path, steps=0)
    run.config_file.write_text(f'"{HOSTILE}" = "{HOSTILE}"\n[objective]\nname = "{HOSTILE}"\n')
    (run.path / "meta.json").write_text(json.dumps(run.meta | {"commit": HOSTILE, "command": [HOSTILE]}))
    made, notes = episode(1, 0, HOSTILE, HOSTILE)
    turns = tuple(
        replace(turn, text=HOSTILE, action=HOSTILE, observation=replace(turn.observation, text=HOSTILE))
        for turn in made.turns
    )
    notes = replace(
        notes,
        skills=[HOSTILE],
        pieces=[[HOSTILE] * 5] * 2,
        prompts=[HOSTILE, HOSTILE],
        teacher_prompts=[f"{HOSTILE}\n{HOSTILE}", ""],
        more_prompts={HOSTILE: [f"{HOSTILE} {HOSTILE}", ""]},
        streams=notes.streams | {HOSTILE: [0.5] * 10, f"gap/{HOSTILE}": [0.5] * 10},
    )
    run.write_trajectories(1, [replace(made, turns=turns)], [notes])
    run.log_metrics(1, {HOSTILE: 1.0})
    add_panel(run, 1, [True, False])
    file = run.eval_file(1)
    file.write_text(file.read_text().replace("heat", json.dumps(HOSTILE)[1:-1]))
    url = serve(run)
    exported = export(Library([run]), tmp_path / "out").as_uri()
    for address in (
        url,
        url + "#/tasks",
        url + at(run, 1, 0),
        url + "#/curves",
        exported + at(run, 1, 0),
    ):
        page.go(address)
        page.until(lambda: HOSTILE in page.run("document.querySelector('main').textContent"))
        for details in page.all(".pane details summary, .run-page details summary"):
            details.click()
        assert page.all("main script, main img, header img") == []
        assert page.run("window.hacked") is None
    ActionChains(page.driver).move_to_element(page.one(".tokens .token")).perform()
    assert "<script>" in page.one("#tip").text
    assert page.all("#tip script, #tip img") == []


def test_a_run_in_progress_updates(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path)
    page.go(serve(run) + at(run, 1, 0))
    page.until(lambda: page.count == "8 of 8 episodes")
    add_step(run, 3)
    page.until(lambda: page.count == "12 of 12 episodes")
    assert "heat the apple of step 3" in page.texts(".row")[0]
    assert page.one(".pane").get_attribute("data-id") == name(run, 1, 0)
    assert "same task" not in page.texts(".pane")[0]
    add_step(run, 4)
    page.until(lambda: "beside, same task:✗ step 4" in page.texts(".pane")[0].replace("\n", ""))
    page.one("a[href='#/curves']").click()
    points = "[data-metric='rollout/success'] circle"
    page.until(lambda: len(page.all(points)) == 4)
    add_step(run, 5)
    page.until(lambda: len(page.all(points)) == 5)


def test_ten_thousand_episodes_make_few_elements(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    run = view_run(tmp_path, steps=5, group=2000)
    page.go(serve(run) + "#/episodes")
    page.until(lambda: page.count == "10,000 of 10,000 episodes")
    for place in (0.0, 0.5, 1.0):
        page.run(
            f"document.querySelector('.rows').scrollTop = {place} * "
            "document.querySelector('.inner').offsetHeight"
        )
        number = round(place * 10_000) or 1
        page.until(lambda number=number: page.all(f".row[aria-posinset='{number}']"))
        assert len(page.all(".row")) < 50
    assert "step 1 ·" in page.texts(".row")[-1]
    assert page.run("document.querySelectorAll('*').length") < 1500
    page.type("text", "step 3")
    page.until(lambda: page.count == "2,000 of 10,000 episodes")


def test_seeds_are_joined(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.go(serve(view_run(tmp_path, "a"), view_run(tmp_path, "b", steps=4, seed=1)) + "#/curves")
    chart = "[data-metric='teacher/gap_mean']"
    page.until(lambda: len(page.all(f"{chart} .line")) == 2)
    assert page.texts(".key label") == ["a (train.seed 0)", "b (train.seed 1)"]
    page.one("#join").click()
    page.until(lambda: len(page.all(f"{chart} .line")) == 1)
    assert len(page.all(f"{chart} .band")) == 1
    assert len(page.all(f"{chart} circle")) == 2
    page.one("#metric").send_keys("success")
    page.until(lambda: not page.all(chart))
    assert page.all("[data-metric='rollout/success']")


def test_the_panel_is_never_smoothed(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    """And a chart's headline is the last value itself."""
    run = view_run(tmp_path, steps=0)
    for step, value in enumerate((0.25, 0.375, 0.414), 1):
        run.log_metrics(step, {"eval/success": value, "rollout/success": value})
    page.go(serve(run) + "#/curves")
    page.until(lambda: len(page.all("[data-metric='eval/success'] circle")) == 3)
    assert page.texts("[data-metric] h3 .num") == ["0.414", "0.414"]
    assert page.all("[data-metric='eval/success'] .raw") == []
    assert len(page.all("[data-metric='rollout/success'] .raw")) == 1


def test_the_export_opens_from_the_disk(page: Page, tmp_path: Path) -> None:
    run = view_run(tmp_path)
    path = export(Library([run]), tmp_path / "out")
    shutil.rmtree(run.path)
    page.go(path.as_uri() + "#/episodes")
    page.until(lambda: page.count == "8 of 8 episodes")
    page.all(".row")[1].click()
    page.until(lambda: page.all(".pane .token.ink-blue"))
    page.all(".pane .chips a")[0].click()
    page.until(lambda: len(page.all(".pane")) == 2)
    page.one("a[href='#/curves']").click()
    page.until(lambda: page.all(".chart .line"))
    assert page.one(".live").text == "exported"


def test_a_run_of_format_1(page: Page, serve: Callable[..., str]) -> None:
    """Its tokens have no texts, so their ids are shown; the teacher's prompt is not known."""
    run = RunDir.open(Path(__file__).parents[1] / "data" / "run-format-1")
    page.go(serve(run) + at(run, 1, 0))
    assert page.one(".tokens .token").text.startswith("#")
    assert page.all("[data-role='contexts']") == []
    assert "gate" not in page.texts(".choice button")


@pytest.fixture
def panelled(tmp_path: Path) -> RunDir:
    """A run with its panel at three steps: learnt, forgotten, always and never solved, and in between."""
    run = view_run(tmp_path, "a", steps=3)
    add_panel(run, 0, [False, True, True, False, True])
    add_panel(run, 2, [False, False, True, False, False])
    add_panel(run, 3, [True, False, True, False, True])
    return run


def test_the_landing_page_of_a_run(page: Page, serve: Callable[..., str], panelled: RunDir) -> None:
    panelled.begin_segment(0, CONFIG.format(seed=0), 1)
    panelled.begin_segment(2, CONFIG.format(seed=0) + "strength = 2.0\n", 1)
    page.go(serve(panelled))
    assert page.one(".run-page h2").text == "a"
    assert "3 of ?" in page.one(".facts-line").text
    assert "60.0 %" in page.one(".facts-line").text
    assert page.texts("table.panel thead th") == ["kind", "step 0", "step 2", "step 3"]
    assert page.texts("tr[data-kind='all'] > *") == ["all", "60.0", "20.0", "60.0"]
    assert page.texts("tr[data-kind='cool'] > *") == ["cool", "100.0", "0.0", "50.0"]
    assert page.one("tr[data-kind='all'] td").get_attribute("title").startswith("60.0 % [")
    [resumed] = page.texts(".run-page .note")
    assert "resumed after step 2" in resumed
    assert "objective.strength" in resumed
    assert "objective.strength" in page.texts(".settings dt")
    assert page.all("[data-metric='rollout/success'] svg")
    page.all("tr[data-kind='cool'] td a")[1].click()
    page.until(lambda: page.count == "2 of 27 episodes")
    assert all("panel · step 2" in text for text in page.texts(".row .facts"))


def test_several_runs_have_a_list_and_keep_their_addresses(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    runs = [view_run(tmp_path, "a"), view_run(tmp_path, "b", seed=1)]
    page.go(serve(*runs))
    assert page.texts(".runs-table tbody th") == ["a", "b"]
    page.all(".runs-table tbody a")[1].click()
    page.until(lambda: page.texts(".run-page h2") == ["b"])
    kept = page.run("location.hash")
    assert runs[1].id[:8] in kept
    page.go(serve(runs[1]) + kept)
    assert page.texts(".run-page h2") == ["b"]
    page.go(serve(runs[0]) + kept)
    assert "is not among those shown" in page.one(".empty").text


def test_tasks_by_step(page: Page, serve: Callable[..., str], panelled: RunDir) -> None:
    page.go(serve(panelled) + "#/tasks")
    page.until(lambda: page.texts(".task-step") == ["0", "2", "3"])
    marks = {
        row.get_attribute("data-task"): [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "a")][1:]
        for row in page.all(".task-row")
    }
    assert marks == {
        "p/0": ["✗", "✗", "✓"],
        "p/1": ["✓", "✗", "✗"],
        "p/2": ["✓", "✓", "✓"],
        "p/3": ["✗", "✗", "✗"],
        "p/4": ["✓", "✗", "✓"],
    }
    assert [text.rpartition(" ")[2] for text in page.texts(".tasks .chip")] == ["1", "1", "1", "1", "1"]
    page.one("[data-change='forgotten']").click()
    page.until(lambda: len(page.all(".task-row")) == 1)
    page.go(page.run("location.href"))
    page.until(lambda: len(page.all(".task-row")) == 1)
    page.one(".task-cell.kept[data-step='2']").click()
    page.until(lambda: page.all(f".pane[data-id^='{panelled.id[:8]}/panel/2/']"))
    assert "task p/1" in page.one(".facts-line").text
    assert page.count == "3 of 27 episodes"


def test_a_step_of_several_episodes_is_won_lost_or_mixed(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    page.go(serve(view_run(tmp_path, steps=4)) + "#/tasks?part=training")
    page.until(lambda: page.texts(".task-cell.mixed") == ["2/4"] * 4)
    assert len(page.all(".task-row")) == 3


def test_filters_stand_in_the_address(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    run = view_run(tmp_path, steps=3)
    page.go(serve(run) + "#/episodes")
    page.choose("success", "yes")
    page.choose("group", "task")
    page.type("from", "2")
    page.until(lambda: page.count == "4 of 12 episodes")
    assert page.texts(".row.head .facts") == [
        "2 of 2 shown solved · train/clean",
        "2 of 2 shown solved · train/heat",
    ]
    page.all(".row[role='option']")[0].click()
    page.until(lambda: page.all(".pane"))
    page.one("button[data-stream='gate']").click()
    page.go(page.run("location.href"))
    page.until(lambda: page.count == "4 of 12 episodes")
    assert page.one("#filter-from").get_attribute("value") == "2"
    page.until(lambda: page.texts("[aria-pressed='true']") == ["gate"])
    page.go(page.run("location.href").partition("#")[0] + "#/curves?metric=gap&smooth=9")
    page.until(lambda: page.all("[data-metric='teacher/gap_mean']"))
    assert page.all("[data-metric='rollout/success']") == []
    assert "9 steps" in page.one(".curves .bar").text


def test_further_teachers_and_credit_token_by_token(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    run = view_run(tmp_path, steps=0)
    made, notes = episode(1, 1, "heat", "go")
    streams = {"gap/sibling": [0.5] * 10, "given": [0.5] * 10, "adv": [0.75] * 10}
    seen = "user\nA \U0001f600 did it.\nYour task: go.\nassistant\n"
    notes = replace(notes, streams={**notes.streams, **streams}, more_prompts={"sibling": [seen, ""]})
    run.write_trajectories(1, [made], [notes])
    page.go(serve(run) + at(run, 1, 0) + "?colour=credit")
    page.until(lambda: page.texts("[aria-pressed='true']") == ["credit"])
    assert "ink-blue" in page.one(".tokens .token").get_attribute("class")
    ActionChains(page.driver).move_to_element(page.one(".tokens .token")).perform()
    page.until(lambda: page.texts("#tip [data-stream='credit']") == ["0.25"])
    assert page.texts("#tip [data-stream='gap/sibling']") == ["0.5"]
    page.all("details[data-role='contexts'] summary")[1].click()
    assert page.texts("[data-role='contexts'] .added")[1].strip() == "A \U0001f600 did it."
    assert page.texts("[data-role='contexts'] h3")[2:4] == ["student saw", "sibling teacher saw"]


def test_a_table_is_saved_without_formulas(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.go(serve(view_run(tmp_path)) + "#/episodes")
    text = page.driver.execute_async_script(
        "import('./csv.js').then((m) => arguments[0](m.csv([['a', 'b'], ['=1+1', 'x\"y,z'], [null, -0.5]])))"
    )
    assert text == 'a,b\r\n\'=1+1,"x""y,z"\r\n,-0.5\r\n'
    assert [button.text for button in page.all(".csv")] == ["CSV"]


@pytest.mark.parametrize("view", ["", "#/episodes", "#/tasks", "#/curves", "episode"])
def test_a_narrow_screen_shows_all(
    page: Page, serve: Callable[..., str], panelled: RunDir, view: str
) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.go(serve(panelled) + (at(panelled, 1, 0) if view == "episode" else view))
        if view == "episode":
            page.until(lambda: page.one(".pane").is_displayed())
            assert not page.one(".rows").is_displayed()
            page.one(".back").click()
            page.until(lambda: page.one(".rows").is_displayed())
        assert page.run("document.documentElement.scrollWidth") == 390
        outside = "[...document.querySelectorAll('#top a, #top button, h2, .bar select, .bar input')]"
        assert page.run(f"{outside}.filter((e) => e.getBoundingClientRect().right > 391).length") == 0
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
