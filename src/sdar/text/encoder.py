"""Sentences as vectors, by a sentence-transformers model that is already on this machine.

Nothing is downloaded. Needs `pip install 'sdar[retrieval]'`; it is imported with the model and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sdar.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


Vectors: TypeAlias = "npt.NDArray[np.float32]"


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, width], float32."""


def encoder(model: str, device: str = "cpu", batch_size: int = 64) -> Encoder:
    """The encoder of a model in a directory or in an installed package; loaded once."""
    return _load(str(model_directory(model)), device, batch_size)


def require_encoder(model: str, setting: str) -> None:
    """Raise `ConfigError` for a missing package or model, which `setting` names; loads nothing."""
    if find_spec("sentence_transformers") is None:
        raise ConfigError(f"{setting} needs sentence-transformers: pip install 'sdar[retrieval]'")
    model_directory(model, setting)


def model_directory(model: str, setting: str = "model") -> Path:
    """Where a model is: the directory itself, or the one in a package that has `modules.json` in it."""
    if not model:
        raise ConfigError(f"{setting} needs a sentence-transformers model: a directory or a package")
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    package = find_spec(model) if model.isidentifier() else None
    for home in (package.submodule_search_locations or ()) if package else ():
        if found := next(iter(sorted(Path(home).rglob("modules.json"))), None):
            return found.parent
    raise ConfigError(f"{setting}: there is no directory '{model}', and no package that ships a model")


@lru_cache(maxsize=2)
def _load(directory: str, device: str, batch_size: int) -> Encoder:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(directory, device=device, local_files_only=True)

    def encode(texts: Sequence[str]) -> Vectors:
        vectors = model.encode(
            list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)

    return encode
