"""How often our keywords choose the skills that the published rule of WebShop chooses.

    python benchmarks/published_keywords.py BANK PROMPTS GOALS

BANK is what `sdar skills import --env webshop` made, PROMPTS what `sdar prompts import` made, GOALS a list of
goal sentences in JSON, as the human goals of WebShop. The published rule reads the first prompt of each goal
in the published words. `keyword` is our rule, which falls back on skills without keywords where no keyword
occurs; `whole words` is the same without the fallback. Writes benchmarks/results/published_keywords.json.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from sdar.envs.webshop.spec import WebshopSpec
from sdar.skills.bank import SkillBank
from sdar.skills.retrieval import Keyword, KeywordPublished, Query
from sdar.types import Observation, Task

RESULT = Path(__file__).parent / "results" / "published_keywords.json"
START = ("search[<your query>]", "click[search]")


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bank", "prompts", "goals"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    bank, prompts = SkillBank.load(args.bank), WebshopSpec(prompt=args.prompts).prompts()
    goals = json.loads(args.goals.read_text(encoding="utf-8"))
    ours, published, same = Keyword(), KeywordPublished(), Counter[str]()
    for goal in goals:
        page = f"WebShop [SEP] Instruction: [SEP] {goal} [SEP] Search"
        (prompt,) = prompts.opening(Observation(page, goal, START))
        task = Task(goal, "")
        chosen = ours.select(Query(bank, task, goal))
        wanted = published.select(Query(bank, task, goal, prompt=prompt.content))
        same["keyword"] += chosen == wanted
        same["whole words"] += tuple(s for s in chosen if s.is_general or s.keywords) == wanted
    found = {"goals": len(goals), "same": {what: count / len(goals) for what, count in same.items()}}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
