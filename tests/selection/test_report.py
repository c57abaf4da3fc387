"""The page of a selection, in a real browser at two widths."""

import re

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import synthetic
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.neighbors import leave_one_out_correct
from keras_experts.selection.racing import Racing
from keras_experts.selection.selector import select
from keras_experts.selection.statistics import mean_score
from tests.browser import BROKEN_WORDS
from tests.browser import words
from tests.selection.report_cases import HOSTILE
from tests.selection.report_cases import Case
from tests.selection.report_cases import hostile
from tests.selection.report_cases import huge
from tests.selection.report_cases import kept
from tests.selection.report_cases import plain
from tests.selection.report_cases import raced
from tests.selection.report_cases import with_modules
from tests.selection.report_cases import without_baseline
from tests.selection.report_cases import without_examples

CASES = [plain, without_baseline, kept, without_examples, raced, hostile, huge]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_page_fits_a_desktop_and_a_phone(make, tmp_path, shown):
    case, selection = make()
    text = case.write(tmp_path / "report.html", selection)
    assert len(text.encode()) < 1_500_000
    for width in (1280, 390):
        page = shown(tmp_path / "report.html", width)
        for fold in page.locator("details").all():
            fold.evaluate("fold => fold.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.title() == f"Which module for {case.task.name}?"
        assert page.locator("h1").count() == 1
        sections = page.locator("section")
        assert page.locator("section > h2").count() == sections.count()
        drawn = page.evaluate(
            "[...document.images].map(i => [i.alt, i.naturalWidth])"
        )
        assert drawn and all(alt and size for alt, size in drawn)


def test_sections_are_those_that_can_be_told(tmp_path, shown):
    usual = ["ranking", "classes", "projection", "neighbours", "next"]
    for make, expected in (
        (plain, usual),
        (without_examples, [usual[0], *usual[2:]]),
        (
            raced,
            ["ranking", "eliminated", "race", *usual[1:4], "skipped", "next"],
        ),
    ):
        case, selection = make()
        case.write(tmp_path / "report.html", selection)
        page = shown(tmp_path / "report.html")
        found = page.evaluate(
            "[...document.querySelectorAll('section')].map(s => s.id)"
        )
        assert found == expected


def test_strange_names_are_shown_as_they_are(tmp_path, shown):
    case, selection = hostile()
    text = case.write(tmp_path / "report.html", selection)
    assert "<script" not in text and "<img src=x" not in text
    page = shown(tmp_path / "report.html")
    assert words(page, "h1") == f"Which module for {HOSTILE}?"
    assert HOSTILE in words(page, "#skipped td >> nth=0")
    assert HOSTILE in words(page, "#classes")


def test_figures_are_the_selection_s(tmp_path, shown):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    rows = page.locator("#ranking > .rows > li").all()
    assert len(rows) == len(selection.ranking)
    for row, entry in zip(rows, selection.ranking, strict=True):
        text = " ".join(row.inner_text().split())
        low, high = entry.interval
        assert entry.expert in text
        assert f"{entry.score:.1%} {low:.1%} to {high:.1%}" in text
        assert f"first in {entry.chance:.0%} of resamples" in text
        assert ("baseline" in text) == (entry.expert == "base")
        if entry.over_baseline is not None:
            lead = 100 * entry.over_baseline
            error = 100 * entry.over_baseline_error
            assert f"gain {lead:+.1f} ± {error:.1f} points" in text
    header = words(page, "header")
    assert "1,234 forward passes were run, 567 were found" in header


def test_bars_and_the_baseline_s_line_end_at_the_scores(tmp_path, shown):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    ticks = page.locator("#ranking .axis .track span").all_inner_texts()
    low, high = (float(ticks[end].rstrip("%")) / 100 for end in (0, -1))
    base = next(e for e in selection.ranking if e.expert == "base")
    for row, entry in zip(
        page.locator("#ranking > .rows > li").all(),
        selection.ranking,
        strict=True,
    ):
        track = row.locator(".track").bounding_box()
        bar = row.locator(".bar").bounding_box()
        line = row.locator(".line").bounding_box()
        whisker = row.locator(".whisker").bounding_box()
        for place, value in (
            (bar["x"] + bar["width"], entry.score),
            (line["x"], base.score),
            (whisker["x"], entry.interval[0]),
            (whisker["x"] + whisker["width"], entry.interval[1]),
        ):
            expected = (value - low) / (high - low) * track["width"]
            assert place - track["x"] == pytest.approx(expected, abs=2)


def test_classes_have_their_own_accuracies(tmp_path, shown):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    rows = [
        " ".join(row.inner_text().split())
        for row in page.locator("#classes .rows > li").all()
    ]
    ours = case.scores[selection.best.module].per_example
    theirs = case.scores["pool/base"].per_example
    expected = []
    for label in range(4):
        places = [i for i, other in enumerate(case.labels) if other == label]
        mine, other = (sum(v[places]) / len(places) for v in (ours, theirs))
        expected.append(
            f"class {label} 15 images {mine:.1%} baseline {other:.1%}"
        )
    assert sorted(rows) == sorted(expected)


def test_experts_stand_below_those_whose_part_holds_theirs(tmp_path, shown):
    case = Case(["bird", "animal", "car", "dog"])
    above = {"bird": ["unknown", "animal"], "animal": [], "car": []}
    with_modules(case, tmp_path, above | {"dog": ["animal"]})
    selection = case.selection()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    top = "#tree .tree > ul > li"
    assert page.locator(f"{top} > .chip").all_inner_texts()[0][:4] == "base"
    second = page.locator(f"{top} > ul > li > .chip").all_inner_texts()
    third = page.locator(f"{top} > ul > li > ul > li > .chip")
    assert {text.split()[0] for text in second} == {"animal", "car"}
    third = third.all_inner_texts()
    assert {text.split()[0] for text in third} == {"bird", "dog"}
    scores = {e.expert: f"{e.score:.1%}" for e in selection.ranking}
    for text in (*second, *third):
        name, score = text.split()
        assert score == scores[name]


def test_tree_s_colours_follow_the_scores(tmp_path, shown):
    case = Case(["a", "b", "c", "d"])
    with_modules(case, tmp_path, {"a": [], "b": ["a"], "c": ["b"], "d": []})
    selection = case.selection()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    lightness = {}
    for chip in page.locator("#tree .chip").all():
        color = chip.evaluate("c => getComputedStyle(c).backgroundColor")
        name = chip.inner_text().split()[0]
        lightness[name] = sum(map(int, re.findall(r"\d+", color)))
    ranked = [entry.expert for entry in selection.ranking]
    assert sorted(lightness, key=lightness.get) == ranked


def test_race_says_who_went_when_and_what_was_saved(tmp_path, shown):
    case, selection = raced()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    text = words(page, "#race")
    assert "400 of 780 forward passes" in text and "48.7% were saved" in text
    gone = selection.race.rounds[0].eliminated
    names = [handle.removeprefix("pool/") for handle in gone]
    expected = f"After 16 images, 6 of 13 were eliminated: {', '.join(names)}."
    assert expected in text
    assert "After 60 images, 3 were left." in text
    # The area below the steps is the share of the passes.
    path = page.get_attribute("#race .steps", "d")
    pairs = re.findall(r"([\d.]+) ([\d.]+)", path)
    points = [(float(x), float(y)) for x, y in pairs]
    area = sum(
        (right - left) * (150 - y)
        for (left, y), (right, _) in zip(points[::2], points[1::2], strict=True)
    )
    run = 16 * 13 + (30 - 16) * 7 + (60 - 30) * 3
    assert area / (320 * 150) == pytest.approx(run / (60 * 13), abs=1e-3)


def test_eliminated_modules_are_listed_apart_without_a_bar(tmp_path, shown):
    case, selection = raced()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    ranked = page.locator("#ranking .name").all_inner_texts()
    eliminated = page.locator("#eliminated li").all_inner_texts()
    names = {text.split()[1] for text in ranked if text.strip()}
    out = [entry for entry in selection.ranking if entry.examples < 60]
    assert names == {
        entry.expert for entry in selection.ranking if entry.examples == 60
    }
    assert page.locator("#eliminated .bar").count() == 0
    for text, entry in zip(eliminated, out, strict=True):
        assert entry.expert in text
        assert f"after {entry.examples} images" in text


def test_eliminated_modules_have_no_color_in_the_tree(tmp_path, shown):
    case = Case(["a", "b", "c"])
    with_modules(case, tmp_path, {"a": [], "b": ["a"], "c": []})
    few = case.scores[str(tmp_path / "c")].per_example
    case.scores[str(tmp_path / "c")] = mean_score(np.ones_like(few[:10]))
    handles = [candidate.handle for candidate in case.candidates]
    survivors = [h for h in handles if h != str(tmp_path / "c")]
    selection = case.selection(survivors=survivors)
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    assert words(page, "#tree .eliminated") == "c"
    color = page.locator("#tree .eliminated").evaluate(
        "c => getComputedStyle(c).backgroundColor"
    )
    assert color == "rgba(0, 0, 0, 0)"
    assert "eliminated after 10 images" in words(page, "#tree")
    best = selection.best
    assert f"{best.expert} {best.score:.1%}" in words(page, "#tree .best")


@pytest.mark.parametrize("width", [390, 1280])
def test_conclusion_is_the_first_sentence_that_is_seen(tmp_path, shown, width):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html", width)
    first = words(page, "main").removeprefix(words(page, "h1")).strip()
    assert first.startswith(selection.conclusion.text)
    box = page.locator(".lead").bounding_box()
    assert box["y"] + box["height"] < 500


def test_words_of_the_page_are_not_broken_on_a_phone(tmp_path, shown):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html", 390)
    assert page.evaluate(BROKEN_WORDS) == []


def test_large_pool_is_folded_below_thirty_and_the_baseline(tmp_path, shown):
    case, selection = huge()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    visible = page.locator("#ranking .rows > li:visible .name")
    names = visible.all_inner_texts()
    expected = selection.ranking[:30]
    base = next(e for e in selection.ranking if e.expert == "base")
    if base not in expected:
        expected = [*expected, base]
    for text, entry in zip(names, expected, strict=True):
        order = selection.ranking.index(entry) + 1
        assert text.split()[:2] == [str(order), entry.expert]
    page.click("#ranking summary")
    page.wait_for_function("document.querySelector('#ranking details').open")
    assert page.locator("#ranking .rows > li:visible").count() == 301
    assert page.locator("#classes .rows > li").count() == 100
    assert page.locator("#projection .legend li").count() == 41
    assert "60 other classes" in words(page, "#projection .legend")


def test_neighbours_are_right_where_their_class_is_the_image_s(tmp_path, shown):
    case, selection = plain()
    case.write(tmp_path / "report.html", selection)
    page = shown(tmp_path / "report.html")
    best, base = (
        leave_one_out_correct(case.features[handle], case.labels)
        for handle in (selection.best.module, "pool/base")
    )
    name = selection.best.expert
    text = words(page, "#neighbours")
    for title, count in (
        (f"Only {name} is right", np.sum(best & ~base)),
        ("Only base is right", np.sum(~best & base)),
        ("Both are right", np.sum(best & base)),
        ("Both are wrong", np.sum(~best & ~base)),
    ):
        assert f"{title}: {count} of 60 images" in text
    cards = page.locator("#neighbours .cards li").all()
    assert 0 < len(cards) <= 24
    for card in cards:
        image, *others = card.locator("figcaption").all_inner_texts()
        own = image.split("\n")[-1].strip().removeprefix("image ")
        for other in others:
            is_same = other.strip().endswith(own)
            assert ("✓" in other) == is_same and ("✗" in other) != is_same


def test_selection_of_folder_and_collection_has_its_page(
    collection, image_folder, tmp_path, shown
):
    path = tmp_path / "report.html"
    selection = select(image_folder, [collection], report=path)
    assert selection.num_examples < 30  # the others are for testing
    page = shown(path, 390)
    rows = page.locator("#ranking .rows > li").all_inner_texts()
    for row, entry in zip(rows, selection.ranking, strict=True):
        assert entry.expert in row and f"{entry.score:.1%}" in row
    command = page.inner_text("pre >> nth=0").strip()
    assert command == selection.next_command
    assert f"--module {selection.conclusion.recommended} " in command
    page.click("pre >> nth=0")
    assert page.evaluate("getSelection().toString()").strip() == command


def test_classes_after_a_race_are_those_of_the_task(tmp_path, shown):
    def color(images):
        return tf.reduce_mean(images, (1, 2))

    def pixels(images):
        small = tf.image.resize(images, (4, 4), "area")
        return tf.reshape(small, (tf.shape(images)[0], -1))

    task = synthetic.digits_task(80)
    pool = [
        Candidate("color", "color", "baseline", 16, function=color),
        Candidate("pixels", "pixels", None, 16, function=pixels),
    ]
    racing = Racing("budget", budget=1.0, seed=3)
    path = tmp_path / "report.html"
    selection = select(task, pool, racing=racing, report=path)
    assert selection.best.expert == "pixels"
    labels = task.train.labels
    with Features(task.train) as features:
        rows = features.get(pool[1], np.arange(80))
    correct = leave_one_out_correct(rows, labels)
    assert 0 < correct.mean() == selection.best.score < 1
    text = words(shown(path), "#classes")
    for label, name in enumerate(task.class_names):
        share = correct[labels == label].mean()
        count = np.count_nonzero(labels == label)
        assert f"{name} {count} images {share:.1%}" in text


def test_images_of_any_task_have_thumbnails(
    collection, data_dir, tmp_path, shown
):
    path = tmp_path / "report.html"
    select(
        "flowers5",
        [collection],
        num_examples=60,
        data_dir=data_dir,
        report=path,
    )
    page = shown(path)
    sizes = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(sizes) > 24 and set(sizes) == {64}
    assert "no preview" not in path.read_text()
