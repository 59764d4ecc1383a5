"""Name -> class tables. A plug-in file registers itself by being imported."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sdar.errors import ConfigError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named classes or functions.

    >>> shapes: Registry[type] = Registry("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"] is Square, shapes.name_of(Square)
    (True, 'square')
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._table: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name`; a name can be taken once."""

        def add(item: T) -> T:
            if name in self._table:
                raise ConfigError(f"{self.what} '{name}' is registered twice")
            self._table[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._table:
            raise ConfigError(f"unknown {self.what} '{name}': {suggest(name, self._table)}")
        return self._table[name]

    def name_of(self, item: object) -> str:
        """The name under which `item` was registered."""
        return next(name for name, known in self._table.items() if known is item)

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table))

    def __len__(self) -> int:
        return len(self._table)
