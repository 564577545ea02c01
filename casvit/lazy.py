"""Attributes of a package that are imported on first use (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_attributes(
    package: str, modules: Mapping[str, str | None]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Gives a package attributes without importing the modules that define them.

    Args:
        package: ``__name__`` of the package.
        modules: The module that defines each attribute, by the attribute's name; None if the
            attribute is a module of the package itself.

    Returns:
        ``__getattr__`` and ``__dir__``.

    Example:
        >>> __all__ = ['Thing']
        >>> __getattr__, __dir__ = lazy_attributes(__name__, {'Thing': 'package.things'})
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        module = modules[name]
        if module is None:
            return importlib.import_module(f'{package}.{name}')
        value = getattr(importlib.import_module(module), name)
        # So that the next look-up does not call this function.
        vars(importlib.import_module(package))[name] = value
        return value

    return get, lambda: sorted({*vars(importlib.import_module(package)), *modules})
