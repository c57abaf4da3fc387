"""The commands. Nothing imports this file.

Exit codes: 0 done, 1 failed, 2 misused. The flags are in `flags/`, what the
commands do in `commands/`.
"""

import argparse
import io
import re
import sys
import traceback
from collections.abc import Callable
from collections.abc import Sequence

from keras_experts.checks import first_line
from keras_experts.commands.shared import Misuse
from keras_experts.flags import evaluation
from keras_experts.flags import publishing
from keras_experts.flags import transfer
from keras_experts.flags import upstream

FAILED, MISUSED = 1, 2
# How argparse begins what it says of a flag, but for wrong choices.
FLAG_ERROR = re.compile(r"^argument ([^:]+): (?!invalid)")
# Errors whose text says all; of others the type is told too.
EXPECTED = (ArithmeticError, OSError, RuntimeError, ValueError, Misuse)


class Parser(argparse.ArgumentParser):
    """A parser with one-line errors and without abbreviated flags.

    Attributes:
        check: function of the parsed flags that raises `Misuse` if they do not
            go together, or None.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs, allow_abbrev=False)
        self.check: Callable | None = None

    def parse_known_args(self, args=None, namespace=None):
        options, rest = super().parse_known_args(args, namespace)
        try:
            if self.check is not None and not rest:
                self.check(options)
        except Misuse as error:
            self.error(str(error))
        return options, rest

    def error(self, message: str) -> None:
        # "argument --budget: must be ..." becomes a sentence about the flag.
        message = FLAG_ERROR.sub(r"\1 ", message)
        self.exit(MISUSED, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    # A name on a disk may hold what the terminal's encoding cannot show.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
        return 0
    except Misuse as error:
        return _report(error, options.debug, MISUSED)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return FAILED
    except Exception as error:
        return _report(error, options.debug, FAILED)


def _report(error: Exception, debug: bool, code: int) -> int:
    if debug:
        traceback.print_exc()
    else:
        # gin adds lines on who called whom; what is before them is ours.
        text = str(error).partition("\n  In call to configurable")[0]
        line = first_line(text) if text else "no reason was given"
        if not isinstance(error, EXPECTED):
            line = f"{type(error).__name__}: {line}"
        print(f"keras-experts: {line}", file=sys.stderr)
    return code


def make_parser() -> Parser:
    """Makes the parser of all commands."""
    parser = Parser(
        prog="keras-experts",
        description="Train, publish, select and fine-tune expert models.",
    )
    parsers = parser.add_subparsers(dest="command", required=True)
    # In the order of a run: from upstream to results.
    for area in (upstream, publishing, transfer, evaluation):
        for add in area.ADD:
            add(parsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
