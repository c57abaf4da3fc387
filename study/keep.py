"""Keeps what an evaluation of the study found, in study/results.

    python -m study.keep study/work/methods study/work/oracle

Of each folder the results, and of the first the modules that each method picked
and the leave-one-out accuracy of each, which the selections hold.
"""

import argparse
from pathlib import Path

from keras_experts import files

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    for folder in folders:
        if (folder / "results.json").is_file():
            content = files.read_json(folder / "results.json")
            for run in content["runs"]:
                run["module"] = short(run["module"])
            files.write_json(RESULTS / f"{folder.name}.json", content)
    content = files.read_json(folders[0] / "results.json")
    tasks = {run["task"] for run in content["runs"]}
    files.write_json(
        RESULTS / "picks.json", picks(folders[0] / "selections", tasks)
    )


def picks(folder: Path, tasks: set[str]) -> dict:
    """Gives what was picked for tasks, and the accuracies of neighbours."""
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*/*.json")):
        task, method = path.parent.name, path.stem
        if task not in tasks:
            continue  # is being evaluated
        selection = files.read_json(path)
        here = found.setdefault(task, {"picked": {}, "neighbours": {}})
        here["picked"][method] = short(selection["best"])
        if method.split("@")[0] == "knn":
            here["neighbours"] |= {
                short(row["module"]): row["score"]
                for row in selection["ranking"]
            }
    return found


def short(module: str) -> str:
    """Names a module of the study: `builtin#tree` is tree."""
    if "#" in module:
        return module.partition("#")[2]
    return Path(module).parent.name


if __name__ == "__main__":
    main()
