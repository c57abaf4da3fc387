"""gin: where files are found, strict parsing, and what was used.

Stage functions are `@configurable`, parts are `@register`. A name is known once
the module that defines it is imported, so the commands import the stages before
they parse.
"""

import ast
import contextlib
import importlib.util  # noqa: F401 - gin 0.5.0 uses it and imports it not
import logging
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import gin

from keras_experts import files

PACKAGE = Path(__file__).parent


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


def parse(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> None:
    """Parses gin files and bindings strictly, and locks the result.

    Files are looked up from the working folder, then among those that come
    with the package.

    Args:
        gin_files: paths.
        gin_params: bindings, such as "train_baseline.seed=1", and values of
            the names in capitals that the files define, such as "SEED=1".

    Raises:
        ValueError: if a file is missing, or a name or a value is wrong.
    """
    gin.clear_config()
    # gin logs an error for each folder that a file is not in.
    logging.disable(logging.ERROR)
    gin.add_config_file_search_path(str(gin_folder()))
    try:
        gin.parse_config_files_and_bindings(
            list(gin_files), None, finalize_config=False
        )
        for param in gin_params:
            _check_macro(param)
        gin.parse_config(list(gin_params))
        gin.finalize()
    except OSError as error:
        raise ValueError(
            "A gin file must exist in the working folder or among "
            f"{gin_folder()}. Received: {', '.join(gin_files)} ({error})."
        ) from error
    except Exception as error:
        # gin gives its own types and long advice; one line says it.
        reason = " ".join(str(error).split())
        reason = reason.partition(" in config string")[0]
        raise ValueError(
            "gin files and parameters must name known functions, arguments "
            f"and values. Received: {reason}"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def _check_macro(param: str) -> None:
    """Raises if a binding gives a value to a name that no file defines.

    gin would take it for a new name, and nothing would use it.
    """
    name = param.partition("=")[0].strip()
    if not name.isidentifier():
        return
    try:
        gin.query_parameter(f"%{name}")
    except ValueError:
        raise ValueError(f"{name!r}, which the files do not define.") from None


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
