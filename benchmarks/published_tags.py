"""How often our readings of Search-QA tags differ from the published one: python benchmarks/published_tags.py

Texts are put together at random, with a fixed seed, from tags in small and other letters and a few words.
`described` is the published behaviour written down again, with one pattern for each kind of block as it has.
Writes benchmarks/results/published_tags.json.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from random import Random

from sdar.envs.search_qa.prompts import parse_any_case, parse_published

RESULT = Path(__file__).parent / "results" / "published_tags.json"
PIECES = (
    "<search>", "</search>", "<answer>", "</answer>", "<SEARCH>", "</Search>", "<Answer>", "</ANSWER>",
    "<think>", "</think>", "Lima", " who ", "\n", " ",
)  # fmt: skip
ANY = re.IGNORECASE | re.DOTALL


def described(text: str) -> tuple[str, bool]:
    """What the published code does with a text: the action and whether the text is valid.

    The text is cut behind its first `</search>`, or else its first `</answer>`, in small letters. The first
    search block counts, else the first answer block, in any letters; it is passed on with tags in small
    letters. If such an action has both answer tags in it, in small letters, the last answer ends the episode.
    """
    kept = text
    for tag in ("</search>", "</answer>"):
        if tag in text:
            kept = text.split(tag)[0] + tag
            break
    action = ""
    for verb in ("search", "answer"):
        if found := re.search(f"<{verb}>(.*?)</{verb}>", kept, ANY):
            action = f"<{verb}>{found[1].strip()}</{verb}>"
            break
    opened = [len(re.findall(f"<{verb}>", text, re.IGNORECASE)) for verb in ("search", "answer")]
    valid = bool(action) and sum(opened) == 1
    if "<answer>" in action and "</answer>" in action:
        answers = re.findall("<answer>(.*?)</answer>", action, re.DOTALL)
        return f"answer {answers[-1].strip() if answers else ''}".strip(), valid
    if found := re.search("<search>(.*?)</search>", action, re.DOTALL):
        return f"search {found[1]}".strip(), valid
    return "", valid


def differing(count: int, seed: int = 0) -> dict[str, int]:
    """Reading -> the number of texts that it reads otherwise than described."""
    random, wrong = Random(seed), Counter({"published": 0, "any-case": 0})
    for _ in range(count):
        text = "".join(random.choice(PIECES) for _ in range(random.randrange(1, 9)))
        expected = described(text)
        wrong["published"] += parse_published(text) != expected
        wrong["any-case"] += parse_any_case(text) != expected
    return dict(wrong)


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200_000)
    args = parser.parse_args()
    found = differing(args.texts)
    RESULT.write_text(json.dumps({"texts": args.texts, "seed": 0, "different": found}, indent=1) + "\n")
    for name, count in found.items():
        print(f"{name}: {count} of {args.texts} texts")


if __name__ == "__main__":
    main()
