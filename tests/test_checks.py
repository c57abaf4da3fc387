import re

import pytest

from keras_experts.checks import check_at_least
from keras_experts.checks import finite_or_none
from keras_experts.checks import first_line
from keras_experts.data.tasks import load_task
from keras_experts.evaluation.prediction import predict


@pytest.mark.parametrize(
    ("value", "low"), [(1, 1), (5, 1), (0.5, 0.0), (1, 0.0)]
)
def test_number_of_at_least_the_bound_passes(value, low):
    check_at_least(rate=(value, low))


@pytest.mark.parametrize(
    ("value", "low"),
    [(0, 1), (1.5, 1), ("many", 1), (True, 1), (None, 1)]
    + [(float("nan"), 0.0), (float("inf"), 0.0)],
)
def test_other_values_are_refused_by_name(value, low):
    with pytest.raises(ValueError, match="`rate` must be a .*Received: "):
        check_at_least(rate=(value, low))


def test_number_for_json_is_finite_or_null():
    assert finite_or_none(0.5) == 0.5
    for number in (float("nan"), float("inf"), -float("inf")):
        assert finite_or_none(number) is None


def test_reason_of_a_traced_error_is_its_last_line():
    text = 'in user code:\n\n    File "a.py", line 1\n\n    ValueError: no.\n'
    assert first_line(text) == "ValueError: no."


def test_reason_of_an_error_in_a_loaded_graph_is_above_its_node():
    text = (
        "Graph execution error:\n\nDetected at node a defined at (most "
        "recent call last):\n<stack traces unavailable>\n"
        "indices[0,1] = 6 is not in [0, 6)\n\t [[{{node a}}]] [Op:__b]"
    )
    assert first_line(text) == "indices[0,1] = 6 is not in [0, 6)"


def test_reason_has_no_names_of_traces():
    text = "{{function_node __wrapped}} Invalid PNG [Op:DecodeImage] name: x"
    assert first_line(ValueError(text)) == "Invalid PNG"


def test_reason_of_a_silent_error_is_its_type():
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    "url", ["https://example.org/a//photo.jpg", "gs://bucket/photos/task.csv"]
)
def test_addresses_are_refused_as_they_were_written(url):
    """Not as "https:/example.org", which a path makes of them."""
    for call in (load_task, lambda path: predict("no model", [path])):
        with pytest.raises(FileNotFoundError, match=re.escape(url)) as caught:
            call(url)
        assert "download it first" in str(caught.value)
