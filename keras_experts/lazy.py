"""Public names that import their module on first use.

TensorFlow takes seconds to import: a package whose `__init__` imports all its
modules would make even `keras-experts --help` pay for it.
"""

import importlib
from collections.abc import Callable
from collections.abc import Sequence


def attach(
    package: str, modules: dict[str, str], packages: Sequence[str] = ()
) -> tuple[Callable, Callable, list[str]]:
    """Makes the `__getattr__`, `__dir__` and `__all__` of a lazy package.

    Args:
        package: str. `__name__` of the package.
        modules: dict. Module (relative to the package) of each public name.
        packages: names of public sub-packages.
    """

    def __getattr__(name: str) -> object:
        if name in packages:
            return importlib.import_module(f".{name}", package)
        if name not in modules:
            raise AttributeError(
                f"Public names of `{package}` are {names}. Received: {name!r}."
            )
        module = importlib.import_module(f".{modules[name]}", package)
        return getattr(module, name)

    names = sorted((*modules, *packages))
    return __getattr__, lambda: names, names
