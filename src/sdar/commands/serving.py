"""`sdar serve-retriever`."""

from dataclasses import dataclass

from sdar.commands.base import configure, say
from sdar.errors import ConfigError
from sdar.settings.config import Layer
from sdar.settings.shipped import read_recipes
from sdar.settings.values import check_least


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `sdar serve-retriever`."""

    host: str = "127.0.0.1"
    """Address to listen on; only this machine by default. 0.0.0.0 lets everyone in who can reach it."""
    port: int = 8000
    """Port to listen on; 0: a free one."""
    top_k: int = 3
    """Passages for a query whose request does not say how many."""
    max_batch: int = 256
    """Queries after which a search is full."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port must be between 0 and 65535, not {self.port}")
        check_least(self, "serve_retriever", top_k=1, max_batch=1)


def serve_retriever(words: list[str], options: ServeOptions, flags: Layer) -> int:
    """Serve a search engine for Search-QA over HTTP, as Search-R1 does; prints its address.

    What searches is chosen like for a run: --env.data DIRECTORY, --env.retriever NAME, or recipes. A run uses
    the server with --env.retriever http --env.retriever.urls ADDRESS.
    """
    from sdar.envs.search_qa.server import bind, make_app, require_server, serve
    from sdar.envs.search_qa.spec import SearchQASpec

    base = Layer("sdar serve-retriever", {"env": {"name": "search_qa"}})
    spec = configure([base, *read_recipes(words)], flags, ServeOptions).env
    if not isinstance(spec, SearchQASpec):
        raise ConfigError("sdar serve-retriever searches for the environment search_qa only")
    require_server()
    spec.retriever.require(spec.corpus)
    with bind(options.host, options.port) as bound:
        retriever = spec.retriever.open(spec.corpus)
        serve(make_app(retriever, top_k=options.top_k, max_batch=options.max_batch), bound, say)
    return 0
