"""Selection among text modules: scores, the cache, bad pairs, no extra."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.tasks import load_task
from keras_experts.saved_models.text_modules import TextModule
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from keras_experts.selection.selector import select


@pytest.fixture(scope="module")
def task(text_files):
    return text_files / "task.csv"


def nearest_by_hand(features, labels, texts):
    """Leave-one-out accuracy of the nearest neighbor that is not a copy."""
    features, texts = features.astype(np.float64), texts.numpy()
    right = 0
    for row, label in enumerate(labels):
        distances = ((features - features[row]) ** 2).sum(1)
        distances[texts == texts[row]] = np.inf
        right += labels[distances.argmin()] == label
    return right / len(labels)


@pytest.mark.slow
def test_scores_are_those_of_the_features(task, text_collection):
    selection = select(task, [text_collection], cache=False)
    train = load_task(task).train
    texts = tf.constant(list(train.read(np.arange(train.num_examples))))
    assert len(selection.ranking) == 3  # the preprocessor gives no features
    for entry in selection.ranking:
        features = TextModule(entry.module)(texts).numpy()
        expected = nearest_by_hand(features, train.labels, texts)
        assert entry.score == pytest.approx(expected)


@pytest.mark.slow
def test_a_second_selection_makes_no_pass(task, text_collection):
    first = select(task, [text_collection], time_limit=300)
    again = select(task, [text_collection])
    assert (again.computed, again.cached) == (0, first.computed + first.cached)
    scores = {e.module: e.score for e in first.ranking}
    assert {e.module: e.score for e in again.ranking} == scores


@pytest.mark.slow
def test_another_preprocessor_gives_other_features(
    task, text_collection, tmp_path
):
    from keras_experts.saved_models.preprocessor import read_vocabulary
    from keras_experts.saved_models.preprocessor import write_preprocessor

    module = str(text_collection / "acme/experts/baseline/1")
    own = text_collection / "acme/experts/preprocessor/1"
    short = tmp_path / "short"
    write_preprocessor(short, read_vocabulary(own), 4, {})
    select(task, [module])
    other = select(task, [f"{module}@{short}"])
    assert other.computed > 0 and other.cached == 0
    assert other.best.module == f"{module}@{short}"


@pytest.mark.slow
def test_what_takes_images_is_left_out_of_a_task_of_texts(
    task, text_collection, baseline_module
):
    selection = select(task, [text_collection, baseline_module], cache=False)
    assert len(selection.ranking) == 3
    (skipped,) = selection.skipped
    assert skipped["module"] == baseline_module
    reason = "which takes images, for a task of texts"
    assert reason in skipped["reason"]


def test_what_takes_texts_is_left_out_of_a_task_of_images(
    image_folder, text_collection, baseline_module
):
    module = str(text_collection / "acme/experts/baseline/1")
    selection = select(image_folder, [baseline_module, module], cache=False)
    assert [e.module for e in selection.ranking] == [baseline_module]
    reason = "which takes texts, for a task of images"
    assert reason in selection.skipped[0]["reason"]


@pytest.mark.slow
def test_a_pair_that_does_not_fit_is_named_and_the_rest_ranked(
    task, text_collection, tmp_path
):
    from keras_experts.saved_models.preprocessor import RESERVED
    from keras_experts.saved_models.preprocessor import write_preprocessor

    write_preprocessor(tmp_path / "p", [*RESERVED, "dog"], 6, {})
    module = str(text_collection / "acme/experts/animal-full/1")
    bad = f"{module}@{tmp_path / 'p'}"
    selection = select(task, [text_collection, bad], cache=False)
    assert len(selection.ranking) == 3
    assert [row["module"] for row in selection.skipped] == [bad]
    assert "must fit each other" in selection.skipped[0]["reason"]


def test_a_module_of_strings_needs_no_preprocessor(task, tmp_path):
    def hashed(texts):
        numbers = tf.strings.to_hash_bucket_fast(texts, 50)
        both = [numbers, tf.cast(tf.strings.length(texts), tf.int64)]
        return tf.cast(tf.stack(both, axis=1), tf.float32)

    spec = tf.TensorSpec((None,), tf.string)
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(hashed, input_signature=[spec])
    tf.saved_model.save(root, str(tmp_path / "m"))
    selection = select(task, [str(tmp_path / "m")], cache=False)
    train = load_task(task).train
    texts = tf.constant(list(train.read(np.arange(train.num_examples))))
    features = hashed(texts).numpy()
    expected = nearest_by_hand(features, train.labels, texts)
    assert selection.best.score == pytest.approx(expected)


def test_a_function_of_texts_is_a_candidate(task):
    def lengths(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    selection = select(task, [Candidate("f", "f", function=lengths)])
    assert selection.best.expert == "f"


def test_a_pool_file_names_pairs_relative_to_itself(tmp_path):
    for name in ("encoder", "pre"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "pool.txt").write_text("encoder@pre baseline\n")
    (candidate,) = expand([tmp_path / "pool.txt"])
    assert candidate.handle == f"{tmp_path}/encoder@{tmp_path}/pre"
    assert candidate.is_baseline


@pytest.mark.slow
def test_a_report_shows_the_texts(task, text_collection, tmp_path):
    select(task, [text_collection], report=tmp_path / "r.html", cache=False)
    page = (tmp_path / "r.html").read_text()
    train = load_task(task).train
    texts = [t.decode() for t in train.read(np.arange(train.num_examples))]
    assert sum(text in page for text in texts) >= 10
    assert "predict --model finetuned TEXTS.csv" in page


def run_without_text(arguments):
    code = (
        "import sys; sys.modules['tensorflow_text'] = None\n"
        "from keras_experts.cli import main\n"
        f"code = main({[str(a) for a in arguments]!r})\n"
        "sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )


@pytest.mark.slow
def test_without_the_extra_images_are_selected_as_ever(
    image_folder, collection
):
    result = run_without_text(
        ["select", "--modules", collection, "--task", image_folder]
        + ["--no_cache", "--racing", "off", "--json", "-"]
    )
    assert result.returncode == 0, result.stderr
    assert not json.loads(result.stdout)["skipped"]


@pytest.mark.slow
def test_without_the_extra_texts_give_its_name(task, text_collection):
    module = text_collection / "acme/experts/baseline/1"
    preprocessor = text_collection / "acme/experts/preprocessor/1"
    code = (
        "import sys; sys.modules['tensorflow_text'] = None\n"
        "from keras_experts.selection.selector import select\n"
        f"select({str(task)!r}, [{str(module)!r}], cache=False)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    last = result.stderr.strip().splitlines()[-1]
    assert "pip install 'keras_experts[text]'" in last
    assert str(preprocessor) in last


@pytest.mark.slow
def test_images_never_import_the_extra(image_folder, baseline_module):
    code = (
        "import sys\n"
        "from keras_experts.selection.selector import select\n"
        f"select({str(image_folder)!r}, [{baseline_module!r}], cache=False)\n"
        "sys.exit('tensorflow_text' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_functions_of_texts_are_never_compiled(task, monkeypatch):
    from keras_experts.selection import loaded_source

    compiled = []
    function = tf.function

    def spy(body=None, **keywords):
        compiled.append(bool(keywords.get("jit_compile")))
        return function(body, **keywords)

    def lengths(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    monkeypatch.setattr(loaded_source.tf, "function", spy)
    # The process of earlier versions was aborted by the second call.
    for _ in range(2):
        selection = select(task, [lengths], cache=False)
    assert selection.best.expert == "lengths"
    assert compiled and not any(compiled)


def test_a_function_of_texts_has_no_image_size(task, tmp_path):
    from keras_experts.selection.fingerprints import describe

    candidate = Candidate("f", "f", function=len)
    assert describe(candidate, tmp_path, "texts").source.image_size == 0


def test_a_text_module_that_depends_on_the_batch_is_skipped(task, tmp_path):
    """Its features are relative to the first text of the batch."""

    def relative(texts):
        lengths = tf.cast(tf.strings.length(texts), tf.float32)[:, None]
        return lengths / lengths[:1] + tf.cumsum(lengths)

    def lengths(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    selection = select(task, [relative, lengths], cache=False)
    assert [entry.expert for entry in selection.ranking] == ["lengths"]
    assert "in any batch" in selection.skipped[0]["reason"]


def save_with_signature_alone(path, function, shape=(None,)):
    spec = tf.TensorSpec(shape, tf.string, "texts")
    serve = tf.function(lambda texts: {"x": function(texts)})
    signatures = {"serve": serve.get_concrete_function(spec)}
    tf.saved_model.save(tf.train.Checkpoint(), str(path), signatures)
    return str(path)


@pytest.mark.parametrize("shape", [(None,), (None, 1)])
def test_a_module_with_a_signature_alone_is_called_by_it(task, tmp_path, shape):
    def hashed(texts):
        texts = tf.reshape(texts, (-1,))
        numbers = tf.strings.to_hash_bucket_fast(texts, 50)
        both = [numbers, tf.cast(tf.strings.length(texts), tf.int64)]
        return tf.cast(tf.stack(both, axis=1), tf.float32)

    module = save_with_signature_alone(tmp_path / "m", hashed, shape)
    selection = select(task, [module], cache=False)
    train = load_task(task).train
    texts = tf.constant(list(train.read(np.arange(train.num_examples))))
    features = hashed(texts).numpy()
    expected = nearest_by_hand(features, train.labels, texts)
    assert selection.best.score == pytest.approx(expected)


def test_strings_with_a_preprocessor_are_refused(
    task, text_collection, tmp_path
):
    module = save_with_signature_alone(
        tmp_path / "m", lambda t: tf.one_hot(tf.strings.length(t), 50)
    )
    pair = f"{module}@{text_collection / 'acme/experts/preprocessor/1'}"
    selection = select(task, [module, pair], cache=False)
    assert [entry.module for entry in selection.ranking] == [module]
    (skipped,) = selection.skipped
    reason = f"takes tokens has a preprocessor. Received: {pair}; {module} "
    assert f"{reason}takes strings" in skipped["reason"]


@pytest.mark.slow
def test_modules_of_images_are_skipped_in_one_line(
    task, text_collection, collection, capsys
):
    bank = collection / "acme/experts/bank/1"
    selection = select(task, [text_collection, bank], cache=False)
    assert len(selection.skipped) == 3
    said = capsys.readouterr().err.strip().splitlines()
    (line,) = [line for line in said if "takes images" in line]
    assert "baseline (bank), form, surface: A module must take" in line


@pytest.mark.parametrize("labels", ["ab", "ambiguous"])
def test_copies_of_a_text_are_not_each_others_neighbors(tmp_path, labels):
    """Noise as features: copies would be 100% right, or with two labels 0%."""

    def noise(texts):
        ids = tf.strings.to_hash_bucket_strong(texts, 2**20, [1, 2])
        seeds = tf.stack([ids, ids], axis=1)
        return tf.map_fn(
            lambda seed: tf.random.stateless_normal((4,), seed),
            seeds,
            fn_output_signature=tf.float32,
        )

    rows = ["text,label"]
    for number in range(60):
        label = "ab"[number % 2]
        copies = [label] * 3 if labels == "ab" else ["a", "b"]
        rows += [f"text number {number},{copy}" for copy in copies]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    selection = select(tmp_path / "t.csv", [noise], cache=False)
    assert 0.2 < selection.best.score < 0.8


def test_what_is_printed_of_texts_says_texts(task, capsys):
    from keras_experts.commands.transfer import _print_selection

    def lengths(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    selection = select(task, [lengths], cache=False)
    assert selection.to_json()["medium"] == "texts"
    _print_selection(selection)
    said = capsys.readouterr().out
    assert f"test texts {selection.num_test}" in said and "image" not in said


def test_a_report_on_texts_says_texts(task, tmp_path):
    def lengths(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    def words(texts):
        hashed = tf.strings.to_hash_bucket_fast(texts, 8)
        return tf.one_hot(hashed, 8)

    pool = [Candidate("a", "a", "baseline", function=lengths), words]
    select(task, pool, report=tmp_path / "r.html", cache=False)
    page = (tmp_path / "r.html").read_text().partition("</style>")[2]
    assert "texts" in page and "image" not in page
