"""Modules trained by the protocol: recipes chosen, and the runs with each."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from keras_experts import files
from keras_experts.console import say
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import say_unseen
from keras_experts.evaluation.manifests import write_manifest
from keras_experts.evaluation.protocol import Protocol
from keras_experts.evaluation.results import BASELINE
from keras_experts.evaluation.suites import SuiteEntry
from keras_experts.evaluation.trials import FAILED
from keras_experts.evaluation.trials import FINAL
from keras_experts.evaluation.trials import TUNING
from keras_experts.evaluation.trials import UNABLE
from keras_experts.evaluation.trials import Trial
from keras_experts.evaluation.trials import run_trials
from keras_experts.selection.features import FAILURES
from keras_experts.selection.fingerprints import Described
from keras_experts.selection.fingerprints import describe
from keras_experts.selection.modules import Candidate


class RepeatedTraining:
    """Trains modules on tasks, as often as a protocol says.

    Args:
        output: folder. Gets a manifest of each task's images.
        trials: folder of the trials' records.
        candidates: Candidate; some may be there several times.
        protocol: Protocol.
        data_dir: str. The folder of TFDS data sets, or None.
        processes: int. Trials at a time.
        trust: bool. As in `select`.

    Raises:
        ValueError: if a baseline is to be swept, and there is none.
    """

    def __init__(
        self,
        output: Path,
        trials: Path,
        candidates: Sequence[Candidate],
        protocol: Protocol,
        data_dir: str | None,
        processes: int,
        trust: bool,
    ):
        self.protocol = protocol
        self._output, self._trials = output, trials
        self._candidates = {c.handle: c for c in candidates}
        self._baselines = [c.handle for c in candidates if c.is_baseline]
        if protocol.swept == BASELINE and not self._baselines:
            raise ValueError(
                "Pools whose baseline's hyperparameters are taken for all must "
                "have one. Received: none."
            )
        self._data_dir = data_dir
        self._processes = processes
        self._trust = trust
        self._described: dict[tuple[str, str], Described | None] = {}
        self._images: dict[tuple[str, str], str] = {}

    def train(
        self,
        entry: SuiteEntry,
        task: Task,
        modules: dict[str, int],
        first_seed: int = 0,
    ) -> dict[str, list[dict]]:
        """Trains modules by the protocol, and tests them.

        A training that diverged counts as an accuracy of 0: left out, it would
        make its module look better.

        Args:
            entry: SuiteEntry.
            task: Task. Of `entry.tuning`.
            modules: dict of handles to how often each is trained, at most the
                protocol's times.
            first_seed: int.

        Returns:
            dict of handles to final records, each with `repeat` and `run`.
            Modules that cannot be trained are said, and left out.
        """
        able = {
            module: times
            for module, times in modules.items()
            if self._describe(module, task.medium) is not None
        }
        if not able:
            return {}
        if self.protocol.swept == BASELINE:
            recipes, unable = self._choose_one(entry, task, able)
        else:
            recipes, unable = self._choose(entry, task, able)
        able = {m: times for m, times in able.items() if m not in unable}
        return self._train(entry, recipes, able, first_seed)

    def _choose(
        self, entry: SuiteEntry, task: Task, modules: dict[str, int]
    ) -> tuple[dict[tuple[str, int], dict], set[str]]:
        """Gives the recipe of each module and repeat, if not all diverged.

        Beside them are the modules that cannot be trained.
        """
        number = task.train.num_examples
        places, wanted = [], []
        chosen: dict[tuple[str, int], dict] = {}
        runs = self.protocol.runs
        for module, repeat in (
            (module, repeat)
            for module, times in modules.items()
            for repeat in range(-(-times // runs))
        ):
            recipes = self.protocol.recipes(number, repeat)
            if len(recipes) == 1:  # nothing to choose
                chosen[module, repeat] = recipes[0]
                continue
            for recipe in recipes:
                places.append((module, repeat))
                wanted.append((module, recipe, repeat))
        records = self._run(entry, TUNING, task, wanted)
        best: dict[tuple[str, int], float] = {}
        unable = set()
        for place, record in zip(places, records, strict=True):
            if UNABLE in record:
                unable.add(place[0])
            # Of equals the first.
            if record.get("accuracy", -1) > best.get(place, -1):
                best[place] = record["accuracy"]
                chosen[place] = record["recipe"]
        return chosen, unable

    def _choose_one(
        self, entry: SuiteEntry, task: Task, modules: dict[str, int]
    ) -> tuple[dict[tuple[str, int], dict], set[str]]:
        """Gives each module the recipe that is chosen for the baseline.

        Of several baselines it is the first that can be trained on the task.
        """
        for baseline in self._baselines:
            if self._describe(baseline, task.medium) is not None:
                break
        else:
            say(f"No baseline to choose hyperparameters with for {entry.name}.")
            return {}, set(modules)
        wanted = {baseline: max(modules.values())}
        recipes, unable = self._choose(entry, task, wanted)
        shared = {
            (module, repeat): recipe
            for (_, repeat), recipe in recipes.items()
            for module in modules
        }
        return shared, set(modules) if unable else set()

    def _train(
        self,
        entry: SuiteEntry,
        recipes: dict[tuple[str, int], dict],
        modules: dict[str, int],
        first_seed: int,
    ) -> dict[str, list[dict]]:
        try:
            # Only here are test images read.
            final = entry.final(self._data_dir)
        except (OSError, ValueError) as error:
            say(f"Missing {entry.name}: {error}")
            return {}
        runs = self.protocol.runs
        places = [
            (module, repeat, run)
            for module, times in modules.items()
            for repeat, run in product(
                range(self.protocol.repeats), range(runs)
            )
            if repeat * runs + run < times
        ]
        trained = [place for place in places if place[:2] in recipes]
        wanted = [
            (module, recipes[module, repeat], first_seed + repeat * runs + run)
            for module, repeat, run in trained
        ]
        records = dict(
            zip(trained, self._run(entry, FINAL, final, wanted), strict=True)
        )
        failed = {FAILED: "No training of the sweep ended."}
        outcomes: dict[str, list[dict]] = {}
        for place in places:
            module, repeat, run = place
            record = records.get(place, failed)
            row = {"accuracy": 0.0, **record, "repeat": repeat, "run": run}
            outcomes.setdefault(module, []).append(row)
        return {
            module: rows
            for module, rows in outcomes.items()
            if not any(UNABLE in row for row in rows)
        }

    def _run(
        self,
        entry: SuiteEntry,
        part: str,
        task: Task,
        wanted: list[tuple[str, dict, int]],
    ) -> list[dict]:
        """Runs trials, each of a module, a recipe and a seed."""
        if wanted:
            say_unseen(task)
        if (entry.name, part) not in self._images:  # decoded once
            path = self._output / "manifests" / f"{entry.name}.{part}.json"
            self._images[entry.name, part] = write_manifest(path, task)
        images = self._images[entry.name, part]
        trials = []
        for module, recipe, seed in wanted:
            described = self._described[module, task.medium]
            trials.append(
                Trial(
                    module,
                    entry,
                    part,
                    recipe,
                    seed,
                    (described.key, images),
                    self._data_dir,
                    self._trust,
                    described.source.image_size or None,
                    described.source.input_range,
                )
            )
        title = f"{part} on {entry.name}"
        return run_trials(trials, self._trials, self._processes, title)

    def _describe(self, module: str, medium: str) -> Described | None:
        """Finds out what a module is; None if it cannot be trained."""
        place = module, medium
        if place not in self._described:
            candidate = self._candidates[module]
            memo = files.cache_folder() / "fingerprints"
            try:
                if candidate.function is not None:
                    raise ValueError(
                        "A module to fine-tune must be a SavedModel or a Keras "
                        "file. Received: a function."
                    )
                self._described[place] = describe(candidate, memo, medium)
            except FAILURES as error:
                say(f"Left out {candidate.name}: {error}")
                self._described[place] = None
        return self._described[place]
