"""What is to be said about the processes that trained a run. No torch."""

from itertools import pairwise

from sdar.runs.rundir import RunDir
from sdar.settings.values import by_path


def describe_segments(run: RunDir) -> list[str]:
    """A line for each file with records that were not used, and each resume: from where, with what change."""
    segments, name = run.segments, run.path.name
    unused = {file: number for segment in segments for file, number in segment.get("left_out", {}).items()}
    lines = [f"{name} did not use {number} bad records of {file}" for file, number in unused.items()]
    for before, now in pairwise(segments):
        old, new = (dict(by_path(segment["settings"])) for segment in (before, now))
        changed = [f"{key} {old.get(key)!r} -> {new[key]!r}" for key in new if new[key] != old.get(key)]
        for part in ("versions", "commit", "ranks", "threads"):
            was, now_is = before.get(part), now.get(part)
            if isinstance(was, dict) and isinstance(now_is, dict):
                changed += [
                    f"{key} {was.get(key)} -> {now_is[key]}" for key in now_is if now_is[key] != was.get(key)
                ]
            elif was != now_is and was is not None:
                changed.append(f"{part} {was} -> {now_is}")
        what = ", ".join(changed) or "nothing changed"
        lines.append(f"{run.path.name} was resumed after step {now['after']} ({now['started']}): {what}")
    return lines
