import json
import os
import subprocess
import sys

import keras

import keras_experts
from keras_experts import cli
from keras_experts.evaluation.doctor import examine


def test_prepared_sets_are_present_and_others_have_a_way(tmp_path):
    for version in ("3.0.1", "2.0.0", "3.0.2.incomplete"):
        (tmp_path / "cifar100" / version).mkdir(parents=True)
    for version in ("3.0.1", "2.0.0"):
        path = tmp_path / "cifar100" / version / "dataset_info.json"
        path.write_text("{}")
    # Of a version that the benchmark does not have.
    (tmp_path / "dtd" / "2.9.9").mkdir(parents=True)
    (tmp_path / "dtd" / "2.9.9" / "dataset_info.json").write_text("{}")
    found = {
        finding.name: finding
        for finding in examine(str(tmp_path))
        if finding.area == "vtab1k"
    }
    assert len(found) == 19
    assert found["cifar100"].state == "present"
    assert "3.0.1" in found["cifar100"].note
    states = {name: finding.state for name, finding in found.items()}
    assert states.pop("cifar100") == "present"
    assert "tfds build 'dtd:3.*.*' --data_dir" in found["dtd"].note
    assert {states.pop(name) for name in ("resisc45", "retinopathy")} == {
        "manual"
    }
    assert states.pop("sun397") == "broken"
    assert set(states.values()) == {"downloadable"}


def test_packages_are_told_with_their_versions(capfd):
    from importlib.metadata import version

    assert cli.main(["doctor", "--json", "-"]) == 0
    rows = json.loads(capfd.readouterr().out)
    notes = {row["name"]: row["note"] for row in rows}
    assert notes["tensorflow"] == version("tensorflow")
    assert {"package", "extra", "resource", "vtab1k", "dat"} == {
        row["area"] for row in rows
    }
    aircraft = next(row for row in rows if row["name"] == "aircraft")
    assert aircraft["state"] == "manual" and "TFDS" in aircraft["note"]


def test_whole_cache_is_cleared_and_nothing_else(
    image_folder, tmp_path, monkeypatch, capfd
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(cache))
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    keras.Model(images, features).save(tmp_path / "mean.keras")
    keras_experts.select(image_folder, [tmp_path / "mean.keras"])
    copy = cache / "keras_models" / "0123"  # of an older version
    copy.mkdir(parents=True)
    (copy / "saved_model.pb").write_bytes(bytes(2**20))
    (cache / "mine.txt").write_text("not ours")
    assert cli.main(["doctor", "--clear_cache", "--json", "-"]) == 0
    out, err = capfd.readouterr()
    (row,) = [row for row in json.loads(out) if row["name"] == "cache"]
    assert ", 0 MiB" in row["note"] and "1 MiB" in err
    assert [path.name for path in cache.iterdir()] == ["mine.txt"]


def test_doctor_tells_of_a_tensorflow_that_does_not_import(tmp_path):
    """In a process where importing it fails, as a broken wheel's does."""
    broken = tmp_path / "tensorflow"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no such symbol')")
    command = [
        sys.executable,
        "-c",
        "from keras_experts import cli; cli.main()",
    ]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [*command, "doctor", "--json", "-"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    rows = json.loads(done.stdout)
    told = [row for row in rows if row["state"] == "broken"]
    assert [row["name"] for row in told] == ["tensorflow"]
    assert "no such symbol" in told[0]["note"]
