"""Keeps what evaluations of the study found, in study/results.

    python -m study.keep study/work/methods study/work/oracle
    python -m study.keep study/work/small_methods --run study/work/small/run

Of each folder the results, the modules that each method picked and the
leave-one-out accuracy of each, which the selections hold; and of a run how its
experts do on their own images.
"""

import argparse
from pathlib import Path

from keras_experts import files

RESULTS = Path(__file__).parent / "results"
# Of what a run tells.
FIGURES = ("name", "kind", "parameters", "num_images", "num_steps", "top1")
FIGURES += ("final_loss", "slice_top1", "slice_top1_baseline", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    for folder in options.folders:
        content = files.read_json(folder / "results.json")
        for one in content["runs"]:
            one["module"] = short(one["module"])
        files.write_json(RESULTS / f"{folder.name}.json", content)
        run = {(one["task"], one["method"]) for one in content["runs"]}
        picked = picks(folder / "selections", run)
        files.write_json(RESULTS / f"{folder.name}_picks.json", picked)
    if options.run is not None:
        name = f"{options.run.parent.name}_upstream.json"
        files.write_json(RESULTS / name, figures(options.run))


def figures(run: Path) -> list[dict]:
    """Gives what a run tells of its baseline and its experts."""
    paths = [run / "baseline", *sorted((run / "experts").glob("*/*"))]
    found = [files.read_json(path / "metadata.json") for path in paths]
    return [{k: row[k] for k in FIGURES if k in row} for row in found]


def picks(folder: Path, run: set[tuple[str, str]]) -> dict:
    """Gives what was picked, and the accuracies of neighbours.

    Of the tasks and methods that were run to their end.
    """
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*/*.json")):
        task, method = path.parent.name, path.stem
        if (task, method) not in run:
            continue
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
