import subprocess
import sys

import pytest

from keras_experts import console

SCRIPT = """
from keras_experts.console import progress
with progress("cutting", 3) as bar:
    for _ in range(3):
        bar.advance(1, "loss 0.5")
"""


def test_bar_has_time_left_on_a_terminal():
    command = ["script", "-qec", f"{sys.executable} -c '{SCRIPT}'", "/dev/null"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "cutting" in result.stdout
    assert "3/3" in result.stdout
    assert "left" in result.stdout
    assert "loss 0.5" in result.stdout


def test_bar_is_silent_in_a_short_log(capfd):
    with console.progress("cutting", 3) as bar:
        bar.advance(3)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def clock(monkeypatch):
    """The seconds that `console` sees, in a list of one number."""
    seconds = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: seconds[0])
    return seconds


def test_time_left_in_a_log_does_not_count_the_first_advance(capfd, clock):
    with console.progress("baseline", 240, done=40) as bar:
        clock[0] = 90.0  # of which 89 s are compilation
        bar.advance(1, "loss 0.5")
        clock[0] = 120.0
        bar.advance(29, "loss 0.4")
    first, second = capfd.readouterr().err.splitlines()
    assert first == "baseline: 41/240, loss 0.5"
    rate, left = 29 / 30, (240 - 70) / (29 / 30)
    assert left == pytest.approx(175.9, abs=0.05)
    assert second == f"baseline: 70/240, {rate:.2f}/s, 0:02:56 left, loss 0.4"


def test_time_left_on_a_terminal_is_that_of_the_log(clock, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("baseline", 240) as bar:
        clock[0] = 100.0
        bar.advance(1)
        bar._display.refresh()
        clock[0] = 101.0
        bar.advance(1)
        clock[0] = 400.0  # rich alone forgets what is older than 30 s
        bar.advance(139)
        bar._display.refresh()
    err = capfd.readouterr().err
    assert "-:--:-- left" in err
    assert "0:03:32 left" in err  # 99 steps at 140 in 300 s


def test_bar_without_a_rate_has_no_time_left(capfd, clock):
    with console.progress("cutting", 4) as bar:
        bar.advance(1)
        bar.advance(0)
        clock[0] = 31.0
        bar.advance(0)
    assert capfd.readouterr().err == "cutting: 1/4\n"


def test_what_is_found_in_a_cache_does_not_shorten_the_time_left(capfd, clock):
    with console.progress("embedding", 1000) as bar:
        bar.skip(500)
        bar.advance(100)
        clock[0] = 100.0
        bar.advance(100)
    assert "1.00/s, 0:05:00 left" in capfd.readouterr().err


def test_trials_of_several_processes_end_together_without_a_wrong_rate(
    capfd, clock
):
    with console.progress("trials", 6, warm_up=2) as bar:
        for seconds in (60.0, 60.5, 120.0, 120.5):
            clock[0] = seconds
            bar.advance(1)
            assert "0:00:0" not in capfd.readouterr().err
        bar.total = 5  # one is not needed any more
        clock[0] = 160.5
        bar.advance(0)
    assert "trials: 4/5, 0.02/s, 0:00:50 left" in capfd.readouterr().err


def test_names_in_tables_are_as_they_are(capfd):
    path = "/very/long" * 30 + "/x[old].png"
    console.print_table("[1]", ("name", "n"), [("[/b]", "[cat]"), (path, 2)])
    out, _ = capfd.readouterr()
    for part in ("[1]", "[/b]", "[cat]", path):
        assert part in out


def test_table_goes_to_stdout(capfd):
    console.print_table("Title", ("name", "n"), [("a", 1), ("b", 22)])
    out, err = capfd.readouterr()
    assert err == ""
    for part in ("Title", "name", "a", "22"):
        assert part in out
