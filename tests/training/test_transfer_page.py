"""The page on a fine-tuning, in a real browser."""

import json

import pytest

from keras_experts.training.transfer_page import write_page

NAMES = [f"Long named sparrow {number}" for number in range(13)]
WIDTH = 360  # of a phone, pixels


@pytest.fixture
def page(chrome, tmp_path):
    """The page of a task of 13 classes, on a phone."""
    confusion = [[1] * 13 for _ in NAMES]
    for label in range(13):
        confusion[label][label] = 20 + label
    metrics = {
        "task": "birds",
        "module": "networks/bird.keras",
        "expert": "bird",
        "num_train": 406,
        "num_test": 494,
        "groups": [],
        "flip": True,
        "input_range": [-1.0, 1.0],
        "base_learning_rate": 0.4,
        "train_accuracy": 1.0,
        "accuracy": 0.68,
        "accuracy_interval": [0.64, 0.72],
        "class_names": NAMES,
        "confusion": confusion,
        "warning": "Training taught it nothing.",
        "final_loss": 0.5,
        "validation": [{"step": 100, "accuracy": 0.5}],
    }
    rows = [{"step": s, "loss": 4.0 - s / 50} for s in (1, 50, 100)]
    curve = tmp_path / "curve.jsonl"
    curve.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_page(tmp_path / "report.html", metrics, curve)
    page = chrome.new_page(viewport={"width": WIDTH, "height": 800})
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    page.close()


def test_page_shows_all_columns_axes_and_settings_on_a_phone(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    rights = page.evaluate(
        "[...document.querySelectorAll('td.right')]"
        ".map(cell => cell.getBoundingClientRect().right)"
    )
    assert len(rights) == 13 and max(rights) <= WIDTH
    overflows = page.evaluate(
        "[...document.querySelectorAll('td')]"
        ".filter(cell => cell.scrollWidth > cell.clientWidth).length"
    )
    assert overflows == 0
    ticks = [
        element.inner_text().split("\n")
        for element in page.locator(".ticks").all()
    ]
    assert ticks[0] == ["4", "3", "2", "1", "0"]
    assert ticks[1] == ["100%", "75%", "50%", "25%", "0%"]
    assert ticks[2] == ["0", "25", "50", "75", "100"]
    names = page.locator("dt").all_inner_texts()
    values = page.locator("dd").all_inner_texts()
    settings = dict(zip(names, values, strict=True))
    assert settings["module"] == "networks/bird.keras"
    assert settings["input_range"] == "-1.0 1.0"
    assert settings["groups"] == "everything" and settings["flip"] == "yes"
    words = page.inner_text("body")
    assert "95% interval 64.0% to 72.0%" in words
    assert "most frequent class: 8.9%" in words
    assert "Training taught it nothing." in words


def test_the_page_of_a_text_task_says_texts(tmp_path):
    metrics = {
        **{"task": "reviews", "module": "m", "expert": "m", "medium": "texts"},
        **{"num_train": 40, "num_test": 10, "groups": [], "final_loss": 0.5},
        **{"train_accuracy": 1.0, "accuracy": 1.0, "class_names": ["a", "b"]},
        **{"accuracy_interval": [0.7, 1.0], "confusion": [[5, 0], [0, 5]]},
        **{"best_step": 1, "validation_accuracy": 1.0},
        "validation": [{"step": 1, "accuracy": 1.0}],
    }
    (tmp_path / "curve.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    write_page(tmp_path / "r.html", metrics, tmp_path / "curve.jsonl")
    page = (tmp_path / "r.html").read_text().partition("</style>")[2]
    assert "test texts" in page and "image" not in page
