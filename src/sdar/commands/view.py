"""`sdar view`."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path

from sdar.commands.base import say
from sdar.settings.config import Layer


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Options of `sdar view`."""

    port: int = 8711
    """Port of the local page; 0 takes any free one."""
    export: Path | None = None
    """Write the page with all its data into this new directory instead; it opens without a server."""
    no_open: bool = False
    """Do not open the browser."""
    out: Path = Path("runs")
    """Where runs are looked for by name."""


def view(words: list[str], options: ViewOptions, flags: Layer) -> int:
    """Look at runs in the browser: episodes token by token, what the teacher saw, and all curves.

    RUN is a path, a name, or latest, which is the default. A run that is still going on updates by itself.
    The page is for this machine alone; Ctrl-C ends it.
    """
    from sdar.runs.rundir import find_run
    from sdar.viewer.export import export
    from sdar.viewer.library import Library
    from sdar.viewer.server import ViewServer

    library = Library([find_run(word, options.out) for word in words or ["latest"]])
    if options.export is not None:
        say(str(export(library, options.export)))
        return 0
    with ViewServer(library, options.port) as server:
        say(server.url)
        if not options.no_open:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
    return 0
