"""The tables of docs/real_run.md, from the files that its commands left.

    python examples/real_run_tables.py FOLDER

FOLDER holds `run/`, `selections/` and `finetuned/`. Prints Markdown.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for kind in ("adapter", "full"):
        print_experts(folder / "run", kind)
    print_transfer(folder)
    print_rankings(folder)


def print_experts(run: Path, kind: str) -> None:
    """Prints each expert's accuracy on its slice beside the baseline's."""
    rows = []
    for path in sorted((run / "experts" / kind).glob("*/metadata.json")):
        result = json.loads(path.read_text())
        shares = (result["slice_top1_baseline"], result["slice_top1"])
        rows.append(
            (path.parent.name, f"{result['num_images']:,}", *percent(*shares))
        )
    columns = (f"{kind} expert", "images", "baseline on slice", "expert")
    print_markdown(columns, rows)


def print_transfer(folder: Path) -> None:
    """Prints scores and test accuracies, a line a task."""
    rows = []
    for path in sorted((folder / "selections").glob("*.json")):
        selection = json.loads(path.read_text())
        scores = {e["module"]: e["score"] for e in selection["ranking"]}
        best = selection["ranking"][0]
        metrics = {
            which: json.loads(
                (
                    folder
                    / "finetuned"
                    / f"{path.stem}-{which}"
                    / "metrics.json"
                ).read_text()
            )
            for which in ("baseline", "best")
        }
        rows.append(
            (
                path.stem,
                selection["num_examples"],
                metrics["best"]["num_test"],
                Path(best["module"]).parent.name,
                *percent(scores[selection["baseline"]], best["score"]),
                *percent(*(m["accuracy"] for m in metrics.values())),
            )
        )
    columns = ("task", "train", "test", "selected")
    scores = ("baseline's kNN", "selected's kNN")
    accuracies = ("baseline's accuracy", "selected's accuracy")
    print_markdown((*columns, *scores, *accuracies), rows)


def print_rankings(folder: Path) -> None:
    """Prints the first five of each task's ranking."""
    rows = []
    for path in sorted((folder / "selections").glob("*.json")):
        ranking = json.loads(path.read_text())["ranking"]
        cells = [
            f"{Path(e['module']).parent.name} {e['score']:.1%}" for e in ranking
        ]
        rows.append((path.stem, *cells[:5]))
    print_markdown(("task", "1", "2", "3", "4", "5"), rows)


def percent(*shares: float) -> tuple[str, ...]:
    return tuple(f"{share:.1%}" for share in shares)


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    print("|", " | ".join(columns), "|")
    print("|", " | ".join("---" for _ in columns), "|")
    for row in rows:
        print("|", " | ".join(map(str, row)), "|")
    print()


if __name__ == "__main__":
    main()
