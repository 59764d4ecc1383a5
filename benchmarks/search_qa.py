"""Search for Search-QA: time to index, queries a second, memory; on real and on a million generated passages.

    PYTHONPATH=src python benchmarks/search_qa.py [--data ../shared/data/searchqa] [--generated 1000000]

Every phase runs in a process of its own, so that its peak memory is its own. `answer in top 3` is the share
of questions of a set whose answer stands in the passages found; `as Lucene` the share whose three passages
are those of the exact index of the WebShop environment, in the same order.
"""

import argparse
import json
import os
import platform
import random
import resource
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sdar.data.search_qa_data import import_search_qa
from sdar.envs.search_qa.bm25 import BM25Config
from sdar.envs.search_qa.http import HttpConfig
from sdar.envs.search_qa.names import TYPES, name
from sdar.envs.search_qa.passages import find_corpus, read_corpus
from sdar.envs.search_qa.questions import open_questions
from sdar.envs.search_qa.scoring import normalize
from sdar.envs.search_qa.worlds import RELATIONS

RESULT = Path(__file__).parent / "results" / "search_qa.json"


def memory_mb() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def generate(path: Path, count: int) -> list[str]:
    """Write passages about made-up entities; 2,000 queries that ask about them."""
    draw = random.Random(0).random
    queries = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            kind = TYPES[number % len(TYPES)]
            subject, facts = name(kind, number), []
            for relation, target in RELATIONS[kind].items():
                value = name(target, int(draw() * count))
                facts.append(f"The {relation} of {subject} is {value}.")
            contents = f'"{subject}"\n{" ".join(facts)}'
            file.write(json.dumps({"id": str(number), "contents": contents}) + "\n")
            if number % (count // 2_000) == 0:
                queries.append(f"What is the {relation} of the {relation} of {subject}?")
    return queries


def build(corpus: Path) -> dict[str, Any]:
    """Make the index."""
    start, used = time.perf_counter(), time.process_time()
    BM25Config().open(corpus)
    return {
        "index_s": round(time.perf_counter() - start, 1),
        "index_cpu_s": round(time.process_time() - used, 1),
        "index_peak_mb": memory_mb(),
    }


def ask(corpus: Path, queries: list[str]) -> dict[str, Any]:
    """Open the index that is there, and search."""
    empty = memory_mb()
    start = time.perf_counter()
    engine = BM25Config().open(corpus)
    opened = time.perf_counter() - start
    engine.search(queries[:50], 3)
    report: dict[str, Any] = {"open_s": round(opened, 3)}
    for size in (1, 128):
        start, used, done = time.perf_counter(), time.process_time(), 0
        while done < len(queries) and time.perf_counter() - start < 60:
            done += len(engine.search(queries[done : done + size], 3))
        report[f"queries_per_s_batch_{size}"] = round(done / (time.perf_counter() - start))
        report[f"queries_per_cpu_s_batch_{size}"] = round(done / (time.process_time() - used))
    return report | {"peak_mb": memory_mb(), "peak_mb_above_imports": memory_mb() - empty}


def serve(corpus: Path, queries: list[str]) -> dict[str, Any]:
    """Through the server and the client on loopback."""
    import uvicorn

    from sdar.envs.search_qa.server import make_app

    app = make_app(BM25Config().open(corpus), top_k=3, max_batch=256)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/retrieve"
    report = {}
    for label, settings in (("batch_128", {"batch": 128}), ("one_by_one", {"dialect": "query"})):
        client = HttpConfig(urls=(url,), **settings).open(None)
        start = time.perf_counter()
        client.search(queries, 3)
        report[f"server_queries_per_s_{label}"] = round(len(queries) / (time.perf_counter() - start))
    server.should_exit = True
    thread.join()
    return report


def quality(corpus: Path, sets: dict[str, list[tuple[str, tuple[str, ...]]]]) -> dict[str, Any]:
    """Whether answers are found, and whether Lucene would find the same."""
    from sdar.envs.webshop.search import Index

    engine = BM25Config().open(corpus)
    passages = list(read_corpus(corpus))
    exact = Index([passage.id for passage in passages], (passage.contents for passage in passages))
    shares, same, total = {}, 0, 0
    for kind, questions in sets.items():
        hits = 0
        for (_, answers), found in zip(
            questions, engine.search([text for text, _ in questions], 3), strict=True
        ):
            text = f" {normalize(' '.join(passage.contents for passage in found))} "
            hits += any(f" {normalize(answer)} " in text for answer in answers)
        shares[kind] = round(hits / len(questions), 3)
        for text, _ in questions[:100]:
            (found,) = engine.search([text], 3)
            same += [p.id for p in found] == [passages[i].id for i in exact.search(text, 3)]
            total += 1
    return {"answer_in_top_3": shares, "as_lucene": round(same / total, 3)}


def alone(phase: Any, *given: Any) -> dict[str, Any]:
    """Run a phase in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(phase, *given).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/searchqa"))
    parser.add_argument("--generated", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "packages": {name: version(name) for name in ("bm25s", "numpy")},
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        os.environ["SDAR_DATA"] = str(home / "cache")
        if options.data.is_dir():
            import_search_qa(options.data, home / "questions")
            corpus = find_corpus(home / "questions")
            sets: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
            for question in open_questions(home / "questions", "test"):
                sets.setdefault(question.kind, []).append((question.text, question.answers))
            queries = [text for questions in sets.values() for text, _ in questions][:2_000]
            real = alone(build, corpus) | alone(ask, corpus, queries) | alone(serve, corpus, queries)
            result["real"] = {"passages": 43_138} | real | alone(quality, corpus, sets)
        if options.generated:
            corpus = home / "generated.jsonl"
            queries = generate(corpus, options.generated)
            made = alone(build, corpus) | alone(ask, corpus, queries)
            result["generated"] = {
                "passages": options.generated,
                "corpus_mb": corpus.stat().st_size >> 20,
            } | made
            sources = (home / "cache" / "search_qa").glob("bm25-*/source.txt")
            index = next(path.parent for path in sources if corpus.name in path.read_text())
            result["generated"]["index_mb"] = sum(path.stat().st_size for path in index.iterdir()) >> 20
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    parts = [
        f"{part['passages']:,} passages: index {part['index_s']} s ({part['index_peak_mb']} MB), "
        f"{part['queries_per_s_batch_1']} queries/s at batch 1, {part['queries_per_s_batch_128']} at 128, "
        f"{part['peak_mb']} MB"
        for part in (result.get("real"), result.get("generated"))
        if part
    ]
    print("Search-QA BM25: " + "; ".join(parts))


if __name__ == "__main__":
    main()
