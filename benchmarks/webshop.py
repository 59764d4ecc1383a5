"""Speed of WebShop: start-up, steps and searches a second, memory; against the size of the catalogue.

    PYTHONPATH=src python benchmarks/webshop.py --data ../shared/data/webshop

Times are CPU seconds of one process on one core, so that other work on the machine does not count. A step
is all that an environment does with an answer: parse it, act, render the page, list what is possible;
searches are not answered from the cache unless an episode repeats its own."""

import argparse
import json
import os
import platform
import random
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "webshop.json"
EPISODES = 400


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """One shop: from nothing to the first page of results, then steps and searches a second."""
    before, start = resident(), time.process_time()
    from sdar.envs.webshop.spec import WebshopSpec

    imported = time.process_time()
    spec = WebshopSpec(**settings)
    catalogue = spec.shop.catalogue
    read = time.process_time()
    catalogue.search("machine wash")
    indexed = time.process_time()
    tasks = spec.tasks("train")
    env = spec.make()
    env.reset(tasks[0])
    ready = time.process_time()
    return {
        "products": len(catalogue),
        "goals": len(tasks) + len(spec.tasks("held_out")),
        "import_s": round(imported - start, 3),
        "catalogue_s": round(read - imported, 3),
        "index_s": round(indexed - read, 3),
        "goals_s": round(ready - indexed, 3),
        "start_s": round(ready - imported, 3),
        "memory_mb": round((resident() - before) / 2**20),
        **speed(spec, tasks),
    }


def speed(spec: Any, tasks: Any) -> dict[str, Any]:
    """Episodes of the shopper that errs in a fifth of its steps, recorded and then played again."""
    dice = random.Random(0)
    chosen = [tasks[dice.randrange(len(tasks))] for _ in range(EPISODES)]
    catalogue, env = spec.shop.catalogue, spec.make()
    scripts, queries = [], []
    for task in chosen:
        observation, texts = env.reset(task), []
        expert = spec.expert("shopper", env, task, 0, 0.2)
        for _ in range(spec.max_turns):
            texts.append(spec.prompts().answer(expert.act(observation)))
            step = env.step(texts[-1])
            observation = step.observation
            queries += [step.action[len("search[") : -1]] if step.action.startswith("search[") else []
            if step.done or step.truncated:
                break
        scripts.append(texts)
    steps = sum(map(len, scripts))
    cold, warm = [], []
    for times, empty in ((cold, True), (cold, True), (warm, False), (warm, False)):
        if empty:
            catalogue.forget()
        start = time.process_time()
        for task, texts in zip(chosen, scripts, strict=True):
            env.reset(task)
            for text in texts:
                env.step(text)
        times.append(time.process_time() - start)
    catalogue.forget()
    start = time.process_time()
    for query in set(queries):
        catalogue.search(query)
    searching = time.process_time() - start
    return {
        "steps_per_s": round(steps / min(cold)),
        "steps_per_s_cached_searches": round(steps / min(warm)),
        "searches_per_s": round(len(set(queries)) / searching),
        "searches_per_step": round(len(queries) / steps, 3),
    }


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def alone(settings: dict[str, Any]) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, settings).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/webshop"))
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    result: dict[str, Any] = {"python": platform.python_version(), "numpy": version("numpy"), "real": {}}
    if options.data.is_dir():
        for prompt in ("full", "compact"):
            result["real"][prompt] = alone({"data": str(options.data), "prompt": prompt})
    result["generated"] = [alone({"products": size}) for size in options.sizes]
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    named = [("real", found) for found in result["real"].values()]
    named += [("generated", found) for found in result["generated"]]
    parts = [
        f"{found['products']:,} {kind} products: start {found['start_s']} s, "
        f"{found['steps_per_s']:,} steps/s, {found['searches_per_s']:,} searches/s, {found['memory_mb']} MB"
        for kind, found in named
    ]
    print("WebShop, one core: " + "; ".join(parts))


if __name__ == "__main__":
    main()
