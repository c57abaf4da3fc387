from pathlib import Path

import pytest

from keras_experts.data import synthetic
from keras_experts.selection.modules import Candidate
from keras_experts.selection.selector import select_many
from keras_experts.selection.strategies import Knn
from tests.selection.modules import loop_for_ever
from tests.selection.modules import mean
from tests.selection.modules import save_module

SEVERAL = ["direct_num_workers=2", "direct_running_mode=multi_processing"]
THREADS = ["direct_num_workers=2", "direct_running_mode=multi_threading"]


@pytest.fixture(scope="module")
def tasks():
    return [synthetic.digits_task(60), synthetic.count_task(40, 4, 24)]


def scores(selections):
    return [
        {entry.module: entry.score for entry in selection.ranking}
        for selection in selections
    ]


@pytest.fixture(scope="module")
def modules(collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beam")
    bank = str(collection / "acme/experts/bank/1")
    constant = save_module(folder / "constant", lambda x: mean(x) * 0.0)
    return [bank, save_module(folder / "mean", mean), constant]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "time_limit"),
    [([], None), (SEVERAL, None), (THREADS, 60)],
    ids=["one", "two", "threads"],
)
def test_pipeline_scores_as_this_process_does(
    modules, tasks, options, time_limit, monkeypatch
):
    from keras_experts.selection import beam

    # Of threads each has something to do at any time.
    monkeypatch.setattr(beam, "SHARD_IMAGES", 5 if time_limit else 30)
    local = select_many(tasks, modules, cache=False)
    found = select_many(tasks, modules, beam=options, time_limit=time_limit)
    assert scores(found) == scores(local)
    assert [s.best.module for s in found] == [s.best.module for s in local]
    assert [s.lead for s in found] == [s.lead for s in local]
    for selection in found:
        (skipped,) = selection.skipped
        assert skipped["module"] == modules[2]
        assert "the same for all 100" in skipped["reason"]
        assert selection.computed == 4 * selection.num_examples  # that work


class Picky(Knn):
    def score(self, features, labels, candidate, groups=None):
        if labels.max() > 8:
            raise ValueError("too many classes")
        return super().score(features, labels, candidate, groups)


@pytest.mark.slow
def test_module_that_fits_one_task_is_ranked_there(modules, tasks):
    found = select_many(tasks[1:], modules, Picky(), beam=[])
    assert len(found[0].ranking) == 4
    with pytest.raises(ValueError, match="5 that failed"):
        select_many(tasks, modules, Picky(), beam=[])


@pytest.mark.slow
def test_module_that_never_ends_is_left_out(modules, tasks, tmp_path):
    endless = save_module(tmp_path / "endless", loop_for_ever)
    (found,) = select_many(
        tasks[:1], [endless, modules[1]], beam=[], time_limit=15
    )
    assert found.best.module == modules[1]
    (skipped,) = found.skipped
    assert skipped["module"] == endless
    assert "within 15 seconds" in skipped["reason"]


@pytest.mark.slow
def test_no_process_for_modules_is_left(modules, tasks):
    select_many(tasks[:1], modules[1:2], beam=[], time_limit=60)
    left = Path("/proc/self/task").glob("*/children")
    pids = " ".join(path.read_text() for path in left).split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    assert not [c for c in commands if "selection.worker" in c]


def test_module_that_failed_is_not_waited_for_again(modules):
    from keras_experts.selection import beam

    asked = []

    class Embedder:
        def features(self, source, parts, images):
            asked.append(source.module)
            raise ValueError("too late")

    run = beam._Modules(Embedder(), "images").run
    candidate = Candidate(modules[1], "mean", "baseline")
    for start in (0, 10):
        rows = list(run(beam.Work((candidate,), start, start + 10)))
        assert rows == [(modules[1], ("too late", None))]
    assert asked == [modules[1]]


def test_wrong_runner_option_and_functions_are_refused(modules, tasks):
    with pytest.raises(ValueError, match="nowhere"):
        select_many(tasks[:1], modules, beam=["runner=nowhere"])
    function = Candidate("mean", "mean", function=mean)
    with pytest.raises(ValueError, match="the function mean"):
        select_many(tasks[:1], [function], beam=[])
    with pytest.raises(ValueError, match="scores features"):
        select_many(tasks[:1], modules, "random", beam=[])
