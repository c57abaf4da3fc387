import subprocess
import sys

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


def test_long_log_gets_a_line_with_rate_and_time_left(capfd, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_A_LINE", 0)
    with console.progress("cutting", 4, done=1) as bar:
        bar.advance(1, "loss 0.5")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("cutting: 2/4, ")
    assert line.endswith(" s left loss 0.5")


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
