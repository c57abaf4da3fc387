"""Flags of someone who wants numbers that can be trusted."""

from keras_experts.commands import evaluation
from keras_experts.evaluation.sweeps import EACH
from keras_experts.evaluation.sweeps import SWEEPS
from keras_experts.evaluation.sweeps import SWEPT
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_strategies
from keras_experts.selection.registry import STRATEGIES


def _add_evaluate(parsers) -> None:
    command = add_command(
        parsers,
        "evaluate",
        evaluation.evaluate,
        "Run the paper's protocol over a suite of tasks; goes on when run "
        "again.",
    )
    several = {"nargs": "+", "action": "extend"}
    add = command.add_argument
    add("--suite", required=True, help="vtab1k, dat, or a JSON file")
    add("--modules", **several, required=True, help="as of select")
    add(
        "--pool",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "MODULE"),
        help="another pool, for the methods METHOD@NAME",
    )
    add("--output", required=True, help="folder of results")
    add("--trials", help="folder of records to share [OUTPUT/trials]")
    add("--data_dir", help="folder of TFDS data sets")
    add(
        "--methods",
        nargs="+",
        default=["baseline", "knn"],
        help=f"{', '.join(STRATEGIES)}; oracle, which fine-tunes every module; "
        "or METHOD@POOL [baseline knn]",
    )
    add(
        "--oracle_runs",
        type=int,
        default=1,
        metavar="N",
        help="how often the oracle fine-tunes each module [1]",
    )
    add("--sweep", default="hyperrule", choices=SWEEPS, help="[hyperrule]")
    add(
        "--swept",
        default=EACH,
        choices=SWEPT,
        help="whose hyperparameters are chosen: of each module, or the "
        "baseline's for all [each]",
    )
    add("--repeats", type=int, default=10, help="choices by sweep [10]")
    add("--runs", type=int, default=3, help="trainings with each [3]")
    add("--num_images", type=int, help="of length 1 [BiT-HyperRule's]")
    add("--batch_size", type=int, default=512, help="[512]")
    add(
        "--base_learning_rate",
        type=float,
        help="at 512 images a step [BiT-HyperRule's]",
    )
    add("--processes", type=int, default=1, help="trials at a time [1]")
    add(
        "--trust",
        action="store_true",
        help="load modules that do more than compute, as inspect tells",
    )
    add("--json", help="results.json, or - for stdout")
    add_strategies(command)


def _add_report(parsers) -> None:
    command = add_command(
        parsers,
        "report",
        evaluation.report,
        "Tables of results files, with intervals.",
    )
    add = command.add_argument
    add("results", nargs="+", help="results.json files, or their folders")
    add("--html", help="a page to look at, F.html")
    add("--markdown", help="file, or - for stdout")
    add("--csv", help="file, or - for stdout")


def _add_doctor(parsers) -> None:
    command = add_command(
        parsers,
        "doctor",
        evaluation.doctor,
        "What is installed, which data are there, and how to get the rest.",
    )
    command.add_argument("--data_dir", help="folder of TFDS data sets")
    what = "first delete the cache of features and fingerprints"
    command.add_argument("--clear_cache", action="store_true", help=what)
    command.add_argument("--json", help="file, or - for stdout")


ADD = (_add_evaluate, _add_report, _add_doctor)
