"""Public names that import their module on first use.

TensorFlow takes seconds to import: a package whose `__init__` imports all its
modules would make even `keras-experts --help` pay for it.
"""

import importlib
from collections.abc import Callable


def attach(
    package: str, modules: dict[str, str]
) -> tuple[Callable, Callable, list[str]]:
    """Makes the `__getattr__`, `__dir__` and `__all__` of a lazy package.

    Args:
        package: str. `__name__` of the package.
        modules: dict. Module (relative to the package) of each public name.
    """

    def __getattr__(name: str) -> object:
        if name not in modules:
            raise AttributeError(
                f"Public names of `{package}` are {sorted(modules)}. "
                f"Received: {name!r}."
            )
        module = importlib.import_module(f".{modules[name]}", package)
        return getattr(module, name)

    names = sorted(modules)
    return __getattr__, lambda: names, names
