"""Registering the package's layers and models with Keras, without importing it.

A model that was saved names its classes; `keras.saving.load_model` finds those
that are registered. They are as soon as both packages have been imported, in
any order, and importing this one alone stays cheap.
"""

import contextlib
import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec

PACKAGE = __name__.partition(".")[0]
LIGHT = (PACKAGE, __name__, f"{PACKAGE}.lazy")  # what importing it imports
REGISTERED = ("layers", "models")


def register() -> None:
    """Imports what a saved model may hold, if Keras has been imported."""
    if "keras" not in sys.modules:
        return
    for module in REGISTERED:
        # What does not import here has its own error where it is used.
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{PACKAGE}.{module}")


def register_after_keras() -> None:
    """Registers now, or when somebody else imports Keras for the first time."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Registers once Keras has been imported, and finds no module itself."""

    def find_spec(self, name, path=None, target=None) -> ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        ours = [m for m in sys.modules if m.partition(".")[0] == PACKAGE]
        if set(ours) - set(LIGHT):
            return None  # we are importing it, halfway through a module
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                register()

            spec.loader.exec_module = execute_and_register
        return spec
