import pytest

from keras_experts.evaluation.demo_page import write_report
from tests.browser import BROKEN_WORDS


def row_of(**changed):
    return {
        "task": "<b>digits</b>",
        "expert": "form",
        "baseline_score": 0.5,
        "expert_score": 0.625,
        "baseline_accuracy": 0.75,
        "expert_accuracy": 0.875,
        "ranking": [
            {"module": "m", "expert": "form", "score": 0.625},
            {"module": "b", "expert": "baseline", "score": 0.5},
        ],
        "links": {
            "selection": "selections/digits.html",
            "expert": "finetuned/digits-form/report.html",
            "baseline": "finetuned/digits-baseline/report.html",
        },
        **changed,
    }


def test_page_escapes_what_it_is_given(tmp_path):
    row = row_of()
    write_report(tmp_path / "report.html", "Results", [row])
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;digits" in page
    assert "<b>digits" not in page
    for figure in ("62.5", "87.5"):
        assert figure in page
    assert "http" not in page.replace("http-equiv", "")  # self-contained


@pytest.mark.parametrize("width", [390, 1280])
def test_page_is_readable_at_all_widths(tmp_path, shown, width):
    rows = [row_of(task="position"), row_of(task="count")]
    write_report(tmp_path / "report.html", "Results", rows)
    page = shown(tmp_path / "report.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(BROKEN_WORDS) == []
    cells = page.locator("tbody td").all()
    assert len(cells) == 12
    for cell in cells:
        box = cell.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width


def test_page_links_to_what_it_names(tmp_path):
    row = row_of()
    write_report(tmp_path / "report.html", "Results", [row])
    page = (tmp_path / "report.html").read_text()
    for path in row["links"].values():
        assert f'href="{path}"' in page
