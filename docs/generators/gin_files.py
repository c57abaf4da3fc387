"""The page of what gin files can bind, and of the files of the package.

Both are read from the source: functions and classes that `@config.register` or
`@config.configurable` makes known, and the files below `gin/`.
"""

import ast
import dataclasses
import re
from pathlib import Path

from docs.generators import api

ROOT = api.ROOT
DECORATORS = {"config.configurable": "stage", "config.register": "part"}
# A default that stands elsewhere, here or in a module beside this one.
CONSTANT = re.compile(r"(?:(\w+)\.)?([A-Z][A-Z_]+)")
# In the order of a run.
STAGES = ("train_baseline", "train_experts", "train_epn", "finetune")
INTRODUCTION = """# gin reference

Stages are configured by gin files. A command looks each `--gin_file` up from
the working folder, then among those of the package; `--gin_param` changes
single values on top. Names in capitals are for you to override
(`--gin_param NUM_STEPS=60`); any argument below can be bound
(`'Knn.k = 5'`). A name that nothing defines is refused. What was used is
written beside each result as `operative_config.gin`.

## What can be bound

Arguments are told where the links lead. One without a value must be bound, as
the files below do, unless the command or the stage gives it: `workdir`,
`module`, `image`.
"""
FOLDERS = {
    "stages": "Stages: what a command is given",
    "papers": "The paper's settings: stages too",
    "models": "Parts: networks",
    "upstream": "Parts: upstream data",
    "common": "Parts: what every stage of a kind binds",
}
OWN_TITLE = "## What stands on no other page"


@dataclasses.dataclass(frozen=True)
class Configurable:
    """Something that gin files can name.

    Attributes:
        name: str. As gin knows it.
        module: str. Where it is defined, such as "keras_experts.data.vtab".
        kind: str. "stage" or "part".
        arguments: dict. Of each argument its default as code, or None.
        summary: str. First line of the docstring.
    """

    name: str
    module: str
    kind: str
    arguments: dict[str, str | None]
    summary: str

    @property
    def identifier(self) -> str:
        """The name as Python imports it."""
        return f"{self.module}.{self.name}"


def configurables() -> list[Configurable]:
    """Finds all that gin files can name, stages first."""
    found = []
    for path in sorted((ROOT / api.PACKAGE).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            names = {ast.unparse(d) for d in node.decorator_list}
            for kind in (DECORATORS[n] for n in names & set(DECORATORS)):
                summary = ast.get_docstring(node).partition("\n")[0]
                given = {
                    argument: _constant(value, path)
                    for argument, value in _arguments(node).items()
                }
                found.append(
                    Configurable(node.name, module, kind, given, summary)
                )
    places = {name: place for place, name in enumerate(STAGES)}
    return sorted(found, key=lambda c: places.get(c.name, len(places)))


def gin_files() -> list[str]:
    """Lists the package's gin files, as commands are given them."""
    folder = ROOT / "gin"
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*.gin"))
    order = list(FOLDERS)
    return sorted(paths, key=lambda p: (order.index(p.split("/")[0]), p))


def page() -> str:
    """Gives the page as Markdown."""
    known = {name for page in api.PAGES for name in page.identifiers}
    found = configurables()
    text = [INTRODUCTION]
    for kind, title in (("stage", "Stages"), ("part", "Parts")):
        text.append(f"### {title}\n\n| name | arguments | |\n|---|---|---|")
        text += [_row(c) for c in found if c.kind == kind]
        text.append("")
    text.append("## The files\n")
    folder = ""
    for path in gin_files():
        if path.split("/")[0] != folder:
            folder = path.split("/")[0]
            text.append(f"### {FOLDERS[folder]}\n")
        text.append(_file(path))
    text.append(f"{OWN_TITLE}\n")
    text += [
        api.block(c.identifier) for c in found if c.identifier not in known
    ]
    return "\n".join(text)


def _arguments(node: ast.FunctionDef | ast.ClassDef) -> dict[str, str | None]:
    if isinstance(node, ast.ClassDef):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        return {
            ast.unparse(n.target): n.value and ast.unparse(n.value)
            for n in fields
        }
    arguments = node.args
    names = [a.arg for a in (*arguments.args, *arguments.kwonlyargs)]
    defaults = [*arguments.defaults, *arguments.kw_defaults]
    blanks = [None] * (len(names) - len(defaults))
    values = {
        name: value and ast.unparse(value)
        for name, value in zip(names, [*blanks, *defaults], strict=True)
    }
    values = {
        name: None if value == "gin.REQUIRED" else value
        for name, value in values.items()
    }
    if arguments.kwarg:
        values[f"**{arguments.kwarg.arg}"] = None
    return values


def _constant(value: str | None, path: Path) -> str | None:
    """Gives the value of a default that is a name in capitals."""
    match = CONSTANT.fullmatch(value or "")
    if match is None:
        return value
    if match[1]:
        path = path.with_name(f"{match[1]}.py")
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"^{match[2]} = (\S+)", text, re.MULTILINE)
    return found[1] if found else value


def _row(found: Configurable) -> str:
    arguments = " ".join(
        f"`{name}`" if value is None else f"`{name}={value}`"
        for name, value in found.arguments.items()
    ).replace("|", "\\|")
    link = f"[`{found.name}`][{found.identifier}]"
    return f"| {link} | {arguments} | {found.summary} |"


def _file(path: str) -> str:
    text = (ROOT / "gin" / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    size = next(
        (i for i, line in enumerate(lines) if not line.startswith("#")),
        len(lines),
    )
    code = "\n".join(lines[size:]).strip()
    indented = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    return (
        f"#### `{path}`\n\n{_told(lines[:size])}\n\n"
        f'??? note "The file"\n\n    ```python\n{indented}\n    ```\n'
    )


def _told(lines: list[str]) -> str:
    """Gives a file's header as Markdown: what is indented there is code."""
    told, code = [], False
    for line in lines:
        text = line.removeprefix("#").removeprefix(" ")
        is_code = text.startswith(" ")
        if is_code != code:
            told.append("```" if code else "\n```")
            code = is_code
        told.append(text.removeprefix("  "))
    return "\n".join([*told, *(["```"] if code else [])])
