"""gin: where files are found, strict parsing, and what was used.

Stage functions are `@configurable`, parts are `@register`. A name is known once
the module that defines it is imported, so the commands import the stages before
they parse.
"""

import ast
import contextlib
import importlib.util  # noqa: F401 - gin 0.5.0 uses it without importing it
import io
import logging
import os
import re
import sys
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import gin

from keras_experts import files
from keras_experts import gin_checks

PACKAGE = Path(__file__).parent
RULE = (
    "gin files and parameters must name known functions, arguments and values."
)


def configurable(function: Callable) -> Callable:
    """Lets gin files bind the arguments of a stage, here and at its callers.

    gin's own decorator fails in a module that is imported after a parse.
    """
    with gin.unlock_config():
        return gin.configurable(function)


def register(function: Callable) -> Callable:
    """Makes a part known to gin files; its Python callers see no bindings."""
    with gin.unlock_config():
        return gin.register(function)


def find_shared(checkout: str, packaged: str) -> Path:
    """Finds a folder of files that lie beside the package in a checkout.

    Args:
        checkout: str. The folder's path in a checkout, such as "gin".
        packaged: str. The folder's name in the installed package.

    Raises:
        FileNotFoundError: if it is in neither.
    """
    # The packaged one first: beside an installed package lie strangers'.
    folders = (PACKAGE / packaged, PACKAGE.parent / checkout)
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        "The package's own files must be installed with it. Received: none "
        f"at {folders[0]} and {folders[1]}."
    )


def gin_folder() -> Path:
    """Gives the folder of the gin files that come with the package."""
    return find_shared("gin", "gin_configs")


def find_file(name: str | Path, folder: str | Path = ".") -> Path | None:
    """Returns the path of a gin file, or None if there is no such file.

    Args:
        name: path, which is looked up from `folder`, from the working
            directory and among the files of the package, in this order.
        folder: folder of the file that includes it.
    """
    name = Path(name).expanduser()
    for place in (Path(folder), Path(), gin_folder()):
        if (place / name).is_file():
            return place / name
    return None


def parse(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> None:
    """Parses gin files and bindings strictly, and locks the result.

    Files are looked up as in `find_file`. Modules that a file imports may lie
    in the working directory.

    Args:
        gin_files: paths.
        gin_params: bindings, such as "train_baseline.seed=1", and values of
            the names in capitals that the files define, such as "SEED=1".

    Raises:
        ValueError: if a file is missing, or a name, a value or its type is
            wrong.
    """
    gin.clear_config()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # of `import my_module`
    # gin logs an error for each folder that a file is not in.
    logging.disable(logging.ERROR)
    reader = _Reader()
    parameters = (gin_checks.PARAMETERS, "\n".join(gin_params))
    try:
        with reader.installed():
            for file in gin_files:
                gin.parse_config_file(str(file))
            for param in gin_params:
                _check_macro(param)
            gin.parse_config(list(gin_params))
        gin_checks.expand_home()
        gin_checks.check_types([*reader.sources, parameters])
        gin.finalize()
    except Exception as error:
        reason = gin_checks.explain(error, [*reader.sources, parameters])
        raise ValueError(f"{RULE} Received: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)


class _Reader:
    """Opens gin files, whose includes start from their own folder.

    Attributes:
        sources: list of pairs of str: path and text of each file read.
    """

    def __init__(self):
        self.sources: list[tuple[str, str]] = []
        self._opened: list[Path] = []

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Registers this reader as the only one that gin opens files with."""
        readers, prefixes = (
            gin.config._FILE_READERS,
            gin.config._LOCATION_PREFIXES,
        )
        gin.config._FILE_READERS = [(self._open, lambda name: True)]
        gin.config._LOCATION_PREFIXES = [""]
        try:
            yield
        finally:
            gin.config._FILE_READERS = readers
            gin.config._LOCATION_PREFIXES = prefixes

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[io.StringIO]:
        folder = self._opened[-1].parent if self._opened else "."
        path = find_file(name, folder)
        if path is None:
            raise FileNotFoundError(f"There is no gin file {name}")
        if path.resolve() in self._opened:
            raise ValueError(f"The gin file {path} includes itself")
        self._opened.append(path.resolve())
        with files.open_text(path) as file:
            content = io.StringIO(file.read())
        content.name = str(path)
        try:
            yield content
        finally:
            # After its includes: what comes last is what counts.
            self.sources.append((str(path), content.getvalue()))
            self._opened.pop()


def _check_macro(param: str) -> None:
    """Raises if a binding gives a value to a name that no file defines.

    gin would define the name, and nothing would use it.
    """
    name = param.partition("=")[0].strip()
    if name.isidentifier() and name not in gin_checks.macros():
        raise ValueError(f"No bindings specified for '{name}' in the files")


def write_operative_config(
    directory: Path, function: str = "", arguments: Mapping | None = None
) -> None:
    """Writes the settings that were used beside a stage's result.

    gin knows its own values and the defaults, but not the arguments that a
    caller passes.

    Args:
        directory: of the result.
        function: str. Name of the stage.
        arguments: dict. The values that it ran with, or None for gin's alone.
            What gin cannot write, such as a Keras model, is not in the file.
    """
    text = gin.operative_config_str()
    known = set(re.findall(rf"^{function}\.(\w+) =", text, re.MULTILINE))
    passed = {k: v for k, v in (arguments or {}).items() if k not in known}
    for name, value in passed.items():
        with contextlib.suppress(SyntaxError, ValueError):
            ast.literal_eval(repr(value))
            text += f"{function}.{name} = {value!r}\n"
    files.write_text(directory / "operative_config.gin", text)
