import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_experts.data.synthetic import digits_task
from keras_experts.saved_models import handles
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.modules import prediction_networks
from keras_experts.selection.selector import select
from tests.selection.modules import mean
from tests.selection.modules import save_module


def handles_of(candidates):
    return [candidate.handle for candidate in candidates]


def test_pool_file_names_modules(baseline_module, collection, tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text(f"# ours\n{baseline_module}  # the baseline\n\n")
    assert handles_of(expand([pool])) == [baseline_module]
    # What is named twice is there once.
    assert len(expand([pool, collection])) == 3


def test_pool_file_names_experts_of_a_bank(collection, tmp_path):
    bank = collection / "acme/experts/bank/1"
    pool = tmp_path / "pool.txt"
    pool.write_text(f"  # ours\n{bank}#form\n{bank}#surface\t# the other\n")
    found = [(c.handle, c.name, c.head) for c in expand([pool])]
    assert found == [
        (f"{bank}#{name}", name, str(bank))
        for name in ("form", "surface", "baseline")  # which is added
    ]


def test_pool_file_tells_what_modules_do_not(tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text(
        "https://example.org/a b/1 image_size=299 input_range=-1,1\n"
        "https://example.org/b/1  input_range=0,255.5 baseline # here\n"
        "https://example.org/image_size=3\n"
    )
    first, second, third = expand([pool])
    assert first.handle == "https://example.org/a b/1"
    assert (first.image_size, first.input_range) == (299, (-1.0, 1.0))
    assert (second.image_size, second.input_range) == (None, (0.0, 255.5))
    assert [c.is_baseline for c in (first, second)] == [False, True]
    assert third.handle == "https://example.org/image_size=3"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "does not exist"), ("empty", "which is neither")],
)
def test_wrong_pool_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        expand([tmp_path / name])


def test_pool_of_itself_is_refused(tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text("pool.txt\n")
    with pytest.raises(ValueError, match="must not name itself"):
        expand([pool])


def test_bank_alone_is_its_baseline_and_its_experts(collection):
    bank = collection / "acme/experts/bank/1"
    found = expand([bank])
    assert [(c.name, c.kind) for c in found] == [
        ("baseline", "baseline"),
        ("form", "adapter"),
        ("surface", "adapter"),
    ]
    # In a collection, each has a module of its own.
    assert not any("#" in handle for handle in handles_of(expand([collection])))


def test_baseline_of_an_expert_s_collection_is_in_the_pool(
    collection, baseline_module, tmp_path
):
    form = collection / "acme/experts/form/1"
    assert handles_of(expand([form])) == [str(form), baseline_module]
    alone = tmp_path / "form"
    shutil.copytree(form, alone)
    assert handles_of(expand([alone])) == [str(alone)]


def test_latest_versions_alone_are_in_the_pool(collection, tmp_path):
    import json

    shutil.copytree(collection, tmp_path / "c")
    path = tmp_path / "c" / "collection.json"
    content = json.loads(path.read_text())
    row = next(r for r in content["modules"] if r["name"] == "form")
    newer = row["handle"][:-1] + "2"
    shutil.copytree(tmp_path / "c" / row["path"], tmp_path / "c" / newer)
    changes = {"handle": newer, "path": newer, "archive": f"{newer}.tar.gz"}
    content["modules"].append({**row, **changes})
    path.write_text(json.dumps(content))
    found = handles_of(expand([tmp_path / "c"]))
    assert str(tmp_path / "c" / newer) in found
    assert str(tmp_path / "c" / row["handle"]) not in found


def test_functions_and_candidates_are_modules():
    def brightness(images):
        return images

    candidate = Candidate("one", "one", image_size=8)
    found = expand([brightness, candidate])
    assert [c.name for c in found] == ["brightness", "one"]
    assert found[0].function is brightness


def test_cheap_modules_come_first_and_the_baseline_before_them(
    collection, tmp_path
):
    found = expand([collection])
    far = Candidate("https://example.org/1", "far")
    light = tmp_path / "light"
    (light / "variables").mkdir(parents=True)
    (light / "variables" / "variables.data").write_bytes(b"1")
    light = Candidate(str(light), "light")
    ordered = [c.name for c in by_cost([far, *found[::-1], light])]
    assert ordered[:2] == ["baseline", "light"]
    assert ordered[-1] == "far"


def test_published_experts_are_a_pool_with_their_baseline():
    found = expand(["google_experts_bit_r50x1_in21k"])
    handles = handles_of(found)
    assert len(set(handles)) == 49
    assert handles[0] == "https://tfhub.dev/google/bit/m-r50x1/1"
    assert [c.is_baseline for c in found] == [True] + [False] * 48
    start = "https://tfhub.dev/google/experts/bit/r50x1/in21k/"
    assert all(handle.startswith(start) for handle in handles[1:])
    with pytest.raises(FileNotFoundError, match="'no_such_pool', which does"):
        expand(["no_such_pool"])


def test_prediction_networks_are_no_candidates(collection, tmp_path):
    networks = prediction_networks([collection])
    assert not {c.handle for c in networks} & set(
        handles_of(expand([collection]))
    )
    assert np.all([c.kind == "epn" for c in networks])


def test_modules_of_a_pool_file_above_it_are_named_without_detours(tmp_path):
    save_module(tmp_path / "module", mean)
    pool = tmp_path / "pools" / "mine.txt"
    pool.parent.mkdir()
    pool.write_text("../module\n")
    (candidate,) = expand([str(pool)])
    assert candidate.handle == str(tmp_path / "module")


def test_domain_adaptive_picks_the_module_made_for_the_task(tmp_path):
    task = digits_task(60)
    modules = []
    for name in ("baseline", "dat_other", f"dat_{task.name}"):
        modules.append(save_module(tmp_path / name, mean))
        metadata = Path(modules[-1]) / handles.METADATA_FILE
        metadata.parent.mkdir(exist_ok=True)
        metadata.write_text(json.dumps({"name": name}))
    found = select(task, modules, "dat", cache=False)
    assert found.best.module == modules[-1]
    with pytest.raises(ValueError, match=f"without dat_{task.name}"):
        select(task, modules[:2], "dat", cache=False)


def test_one_module_stands_for_a_list_of_one(baseline_module):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    for module in (baseline_module, Path(baseline_module), model):
        assert handles_of(expand(module)) == handles_of(expand([module]))
