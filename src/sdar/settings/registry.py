"""Name -> class tables. A plug-in file registers itself by being imported."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
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

    def __init__(self, what: str, homes: Mapping[str, str] | None = None) -> None:
        """`homes`: module that registers a name that is always known; it is imported when asked for."""
        self.what = what
        self._table: dict[str, T] = {}
        self._homes = dict(homes or {})

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name`; a name can be taken once."""

        def add(item: T) -> T:
            home = self._homes.get(name, item.__module__)
            if name in self._table or home != item.__module__:
                raise ConfigError(f"{self.what} '{name}' is registered twice")
            self._table[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._table and name in self._homes:
            import_module(self._homes[name])
        if name not in self._table:
            raise ConfigError(f"unknown {self.what} '{name}': {suggest(name, self)}")
        return self._table[name]

    def name_of(self, item: object) -> str:
        """The name under which `item` was registered."""
        return next(name for name, known in self._table.items() if known is item)

    def __contains__(self, name: str) -> bool:
        return name in self._table or name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._table, *self._homes}))

    def __len__(self) -> int:
        return sum(1 for _ in self)
