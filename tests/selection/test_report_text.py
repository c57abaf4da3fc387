"""The text of a selection's page."""

import dataclasses
import html
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_experts import cli
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.selection import charts
from keras_experts.selection.modules import expand
from keras_experts.selection.proxies import logistic_correct
from keras_experts.selection.statistics import mean_score
from tests.selection.report_cases import Case
from tests.selection.report_cases import hostile
from tests.selection.report_cases import kept
from tests.selection.report_cases import plain
from tests.selection.report_cases import pool_of
from tests.selection.report_cases import raced
from tests.selection.report_cases import with_modules
from tests.selection.report_cases import without_baseline
from tests.selection.report_cases import without_examples


class References(HTMLParser):
    """Collects what a page refers to, and what could run."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.elements, self.attributes = [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        for key, value in attributes:
            self.attributes.add(key)
            if key in ("src", "href", "srcset", "data", "action", "xlink:href"):
                self.addresses.append(value)


@pytest.mark.parametrize("make", [plain, hostile, raced])
def test_page_refers_to_nothing_and_runs_nothing(make, tmp_path):
    case, selection = make()
    page = References(case.write(tmp_path / "report.html", selection))
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not {"script", "iframe", "object", "base"} & page.elements
    assert not [key for key in page.attributes if key.startswith("on")]
    text = (tmp_path / "report.html").read_text()
    assert "url(" not in text and "@import" not in text


@pytest.mark.parametrize("hits, is_sure", [(11, False), (40, True)])
def test_page_begins_with_what_a_gain_means(tmp_path, hits, is_sure):
    case = pool_of(1)
    expert, base = (c.handle for c in case.candidates)
    ours, theirs = np.zeros((2, 60))
    ours[:hits], theirs[8:18] = 1, 1  # so many alone have it right: 8, 7
    case.scores = {expert: mean_score(ours), base: mean_score(theirs)}
    selection = case.selection()
    text = case.write(tmp_path / "report.html", selection)
    expected = selection.conclusion
    assert expected.recommended == (expert if is_sure else base)
    lead = text.partition('<p class="lead"><strong>')[2].partition("<")[0]
    assert html.unescape(lead) == expected.text
    assert f"--module {expected.recommended} --task shapes" in text


def test_page_says_why_there_is_nothing_to_compare(tmp_path):
    for make, expected in (
        (without_baseline, "The pool has no baseline to compare it with."),
        (raced, "The baseline was eliminated after 16 images."),
        (without_examples, "Such scores have no p-value"),
        (kept, "No expert scores higher than the baseline; take the baseline."),
    ):
        case, selection = make()
        text = case.write(tmp_path / "report.html", selection)
        assert expected in text
    failed, _ = without_baseline()
    selection = failed.selection(baseline="pool/base")
    text = failed.write(tmp_path / "report.html", selection)
    assert "The baseline was skipped" in text


def test_linear_classifier_is_cross_validated_with_copies_in_one_fold(
    tmp_path,
):
    """Each image has a copy, whose label is all that its features tell."""
    case = pool_of(1, num_classes=2, per_class=20)
    rng = np.random.default_rng(1)
    pixels = np.repeat(rng.integers(0, 255, (20, 4, 4, 3), np.uint8), 2, 0)
    case.labels = labels = np.repeat(rng.permutation([0, 1] * 10), 2)
    images = from_arrays(pixels, labels, ["a", "b"])
    case.task = Task("copies", images, images)
    noise = np.repeat(rng.normal(size=(20, 64)), 2, 0).astype(np.float32)
    for handle in case.scores:
        case.features[handle] = noise
        case.scores[handle] = mean_score(rng.integers(0, 2, 40))
    groups = np.arange(40) // 2 * 2
    text = case.write(tmp_path / "report.html", groups=groups)
    cells = re.findall(r"<td><b>([\d.]+)%</b>", text)
    expected = logistic_correct(noise, labels, groups=groups).mean()
    assert float(cells[1]) == pytest.approx(100 * expected, abs=0.05)
    assert expected < 0.8 < logistic_correct(noise, labels).mean()


def test_clusters_are_described_by_their_most_frequent_classes():
    from keras_experts.selection.descriptions import describe

    found = {c.name: describe(c) for c in expand(["builtin"])}
    assert found["cluster_003"] == "mostly apple, orange, pear, sweet pepper"
    assert found["insect"] is None and found["baseline"] is None
    assert len([name for name in found if found[name]]) == 14


@pytest.mark.parametrize("parents", [{"a": ["b"], "b": ["a"]}, {"a": ["a"]}])
def test_circle_of_parents_ends(tmp_path, parents):
    case = Case(["a", "b"])
    with_modules(case, tmp_path, parents)
    page = case.write(tmp_path / "report.html")
    assert ('id="tree"' in page) == (len(parents) == 2)
    assert page.count('class="chip') == (3 if len(parents) == 2 else 0)


def test_baseline_that_a_race_eliminated_is_not_computed(tmp_path):
    case, selection = raced()
    del case.features["pool/base"]
    text = case.write(tmp_path / "report.html", selection)
    assert "features of all images were not computed" in text
    assert text.count("Features of the images by ") == 1
    assert 'class="line"' not in text  # scores of fewer images are lower
    case, selection = raced(baseline_goes=False)
    text = case.write(tmp_path / "report.html", selection)
    assert text.count("Features of the images by ") == 2
    assert 'class="line"' in text


def test_image_that_cannot_be_decoded_has_no_preview(tmp_path):
    assert charts.thumbnail(b"no image") is None
    case, selection = plain()
    broken = np.array([b"no image"] * 60, object)
    images = from_arrays(np.zeros((60, 2, 2), np.uint8), case.labels, ["c"] * 4)
    images = dataclasses.replace(images, read=lambda places: broken[places])
    case.task = Task("broken", images, images)
    assert "no preview" in case.write(tmp_path / "report.html", selection)


def test_function_has_no_command(tmp_path):
    case, selection = plain()
    for order, candidate in enumerate(case.candidates):
        changed = dataclasses.replace(candidate, function=len)
        case.candidates[order] = changed
    text = case.write(tmp_path / "report.html", selection)
    assert "is a function or a Keras model" in text and "<pre>" not in text


def test_commands_are_what_a_shell_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case, selection = plain()
    flags = ["--task", "my photos/it's <$HOME>", "--data_dir", "d"]
    for path in (flags[1], flags[3], "pool/base", "finetuned", "IMAGE.jpg"):
        (tmp_path / path).mkdir(parents=True)
    text = case.write(tmp_path / "report.html", selection, flags)
    finetune, predict = (
        shlex.split(html.unescape(command))
        for command in re.findall("<pre><code>(.*)</code></pre>", text)
    )
    assert finetune[0] == predict[0] == "keras-experts"
    parser = cli.make_parser()
    options = parser.parse_args(finetune[1:])
    assert options.module == selection.conclusion.recommended
    assert options.task == flags[1]
    assert options.data_dir == "d"
    assert parser.parse_args(predict[1:]).model == options.output


def test_command_names_the_task_and_what_the_module_takes(tmp_path):
    case = Case(["a"], num_classes=2)
    case.candidates = [
        dataclasses.replace(c, image_size=299, input_range=(-1.0, 1.0))
        for c in case.candidates
    ]
    text = case.write(tmp_path / "report.html")
    wanted = ("--task shapes", "--image_size 299", "--input_range -1.0 1.0")
    for flags in wanted:
        assert flags in text
