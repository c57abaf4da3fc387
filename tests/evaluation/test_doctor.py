import json

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
    missing = {name for name, f in found.items() if f.state == "missing"}
    assert missing == found.keys() - {"cifar100"}
    assert "tfds build 'dtd:3.*.*' --data_dir" in found["dtd"].note
    assert "manual" in found["resisc45"].note
    assert "manual" in found["retinopathy"].note
    assert "broken upstream" in found["sun397"].note


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
    assert aircraft["state"] == "missing" and "TFDS" in aircraft["note"]
