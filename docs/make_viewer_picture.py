"""Draws docs/images/viewer.png: the page of `sdar view` in headless Chromium, at a solved episode of a run.

python docs/make_viewer_picture.py RUN [RUN ...]
"""

import shutil
import sys
import threading
from pathlib import Path

from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sdar.runs.rundir import RunDir
from sdar.viewer.library import Library
from sdar.viewer.server import ViewServer

OUT = Path(__file__).parent / "images" / "viewer.png"
SIZE = "1400,1190"


def main(runs: list[str]) -> None:
    """Serve the runs and take a picture of the last solved episode of the first."""
    if not runs:
        sys.exit(__doc__)
    library = Library([RunDir.open(Path(run)) for run in runs])
    library.read()
    key, index = next(iter(library.indexes.items()))
    kept = [row for row in index.rows if row["part"] == "training" and row["place"] is not None]
    rows = [row for row in kept if row["success"]]
    if not rows:
        sys.exit(f"{runs[0]} kept no solved episode")
    with ViewServer(library) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        take(f"{server.url}#/episodes/{key}/training/{rows[-1]['step']}/{rows[-1]['place']}")
        server.shutdown()


def take(address: str) -> None:
    """The picture of a page, with the pointer on the strongest colour among the tokens of the second turn."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={SIZE}"):
        options.add_argument(argument)
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as browser:
        browser.get(address)
        tokens = WebDriverWait(browser, 30).until(
            lambda _: browser.find_elements(By.CSS_SELECTOR, ".tokens .token")
        )
        strength = "return Number(arguments[0].style.getPropertyValue('--strength'))"
        second = [token for token in tokens if token.get_attribute("data-turn") == "1"]
        strongest = max(second, key=lambda token: browser.execute_script(strength, token))
        ActionChains(browser).move_to_element(strongest).perform()
        WebDriverWait(browser, 10).until(lambda _: browser.find_element(By.ID, "tip").is_displayed())
        OUT.write_bytes(browser.get_screenshot_as_png())


if __name__ == "__main__":
    main(sys.argv[1:])
