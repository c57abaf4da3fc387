from keras_experts.evaluation.demo_page import write_report


def test_page_escapes_what_it_is_given(tmp_path):
    row = {
        "task": "<b>digits</b>",
        "expert": "form",
        "baseline_score": 0.5,
        "expert_score": 0.625,
        "baseline_accuracy": 0.75,
        "expert_accuracy": 0.875,
        "ranking": [{"module": "m", "expert": "form", "score": 0.625}],
    }
    write_report(tmp_path / "report.html", "Results", [row])
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;digits" in page
    assert "<b>digits" not in page
    for figure in ("62.5", "87.5"):
        assert figure in page
    assert "http" not in page.replace("http-equiv", "")  # self-contained
