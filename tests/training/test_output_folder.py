import pytest

from keras_experts import files
from keras_experts.locking import locked
from keras_experts.training.output_folder import METRICS_FILE
from keras_experts.training.output_folder import new_output
from keras_experts.training.output_folder import new_result
from keras_experts.training.output_folder import unfinished_folder


def test_output_that_another_process_writes_to_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(BlockingIOError, match=str(tmp_path)):
        with new_output(tmp_path):
            pass


def test_output_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    for output in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(FileExistsError, match="must be new or empty"):
            with new_output(output):
                pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_output_whose_name_tensorflow_cannot_write_is_refused_first(tmp_path):
    with pytest.raises(ValueError, match=r"valid UTF-8.*caf\\udce9"):
        with new_output(tmp_path / "caf\udce9"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_run_that_was_killed_while_it_moved_the_result_goes_on(tmp_path):
    def write(value):
        with new_output(tmp_path):
            unfinished = unfinished_folder(tmp_path, {"seed": 0})
            unfinished.mkdir(parents=True, exist_ok=True)
            result = new_result(unfinished)
            (result / "module").mkdir()
            (result / "module" / value).touch()
            (result / METRICS_FILE).write_text(value)
            files.move_contents(result, tmp_path, last=METRICS_FILE)

    write("first")
    (tmp_path / METRICS_FILE).unlink()  # as if killed before the last move
    write("second")
    names = [path.name for path in (tmp_path / "module").iterdir()]
    assert names == ["second"]
    with pytest.raises(FileExistsError, match="holds a finished result"):
        write("third")
    # Killed after the last move: the rest of it goes at the next start.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        METRICS_FILE,
        "module",
    ]


def test_unfinished_work_depends_on_all_settings(tmp_path):
    folders = [
        unfinished_folder(tmp_path, {"seed": 0, "rate": rate})
        for rate in (0.1, 0.1, 0.2)
    ]
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].is_relative_to(tmp_path)
