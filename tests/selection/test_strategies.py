"""Every strategy through `select`, against what it is defined as."""

import dataclasses
import shutil

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from keras_experts.data import synthetic
from keras_experts.data.preprocessing import resize
from keras_experts.data.tasks import Task
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models import handles
from keras_experts.selection import proxies
from keras_experts.selection import transferability
from keras_experts.selection.features import Features
from keras_experts.selection.modules import expand
from keras_experts.selection.pool_strategies import NameMatching
from keras_experts.selection.pool_strategies import Random
from keras_experts.selection.registry import STRATEGIES
from keras_experts.selection.selector import select
from keras_experts.selection.strategies import Knn

NUMBER = 60


@pytest.fixture(scope="module")
def task():
    return synthetic.digits_task(NUMBER)


@pytest.fixture(scope="module")
def classifier(run_dir):
    return run_folder.load_baseline(run_dir)[0]


@pytest.fixture(scope="module")
def network(classifier):
    """An expert prediction network that is sure of something."""
    features = classifier.get_layer(heads.FEATURES_NAME)
    model = heads.add_head(features, 2)
    head = model.get_layer(heads.HEAD_NAME)
    rng = np.random.default_rng(0)
    head.kernel.assign(rng.normal(size=head.kernel.shape) * 3.0)
    return model


@pytest.fixture(scope="module")
def pool(collection, network, tmp_path_factory):
    """A collection with an expert prediction network."""
    from keras_experts.exporting.collection_writer import CollectionWriter
    from keras_experts.exporting.collection_writer import Publication

    folder = tmp_path_factory.mktemp("pool") / "c"
    shutil.copytree(collection, folder)
    row = handles.read_metadata(str(folder / "acme/experts/baseline/1"))
    known = [{"name": "surface", "synset": "surface"}]
    known += [{"name": "form", "synset": "form"}]
    dropped = ("backbone", "loss", "head_sha256", "label_prior_sha256")
    row = {key: row[key] for key in row if key not in dropped}
    with CollectionWriter(folder, Publication("acme")) as writer:
        writer.add_epn(network, {**row, "kind": handles.EPN, "experts": known})
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def rows(pool, task):
    """Features by name of the expert."""
    found = {}
    with Features(task.train) as features:
        features.compute(
            expand([pool]),
            np.arange(NUMBER),
            lambda candidate, f, _: found.update({candidate.name: f}),
        )
    return found


@pytest.fixture(scope="module")
def images(task):
    pixels = task.train.read(np.arange(NUMBER))
    return np.stack([resize(image, 24) for image in pixels])


def scores_of(selection):
    return {entry.expert: entry.score for entry in selection.ranking}


@pytest.mark.parametrize(
    ("strategy", "score"),
    [
        ("logistic", lambda f, y: proxies.logistic_correct(f, y).mean()),
        ("svm", lambda f, y: proxies.svm_correct(f, y).mean()),
        ("tree", lambda f, y: proxies.tree_correct(f, y).mean()),
        ("logme", transferability.log_maximum_evidence),
        ("h_score", transferability.h_score),
    ],
)
def test_scores_of_features_are_those_of_their_functions(
    pool, task, rows, strategy, score
):
    found = scores_of(select(task, [pool], strategy))
    for name, features in rows.items():
        assert found[name] == pytest.approx(score(features, task.train.labels))


def test_neighbours_vote_by_the_metric_that_is_asked_for(pool, task, rows):
    found = scores_of(select(task, [pool], Knn(k=3, metric="cosine")))
    labels = task.train.labels
    for name, features in rows.items():
        correct = 0
        for i in range(NUMBER):
            kept = np.arange(NUMBER) != i
            model = KNeighborsClassifier(3, algorithm="brute", metric="cosine")
            model.fit(features[kept].astype(np.float64), labels[kept])
            correct += model.predict(features[i : i + 1])[0] == labels[i]
        assert found[name] == correct / NUMBER


def predicted(classifier, images):
    logits = np.asarray(classifier(images), np.float64)
    is_sigmoid = logits.shape[1] != len(synthetic.CLASSES)
    if is_sigmoid:
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_label_matching_is_the_divergence_of_scipy(
    pool, task, classifier, images, run_dir
):
    share = predicted(classifier, images).mean(axis=0)
    found = scores_of(select(task, [pool], "label_matching"))
    upstream = run_folder.read_label_prior(run_dir / "baseline")
    kept = upstream > 0
    for name in ("baseline", "form", "surface"):
        folder = run_dir / "baseline"
        if name != "baseline":
            folder = run_dir / "experts" / "adapter" / name
        prior = run_folder.read_label_prior(folder)
        # SciPy normalises both.
        expected = -stats.entropy(share[kept], prior[kept])
        assert found[name] == pytest.approx(expected, abs=1e-4)


def test_domain_prediction_is_the_geometric_mean(pool, task, network, images):
    selection = select(task, [pool], "domain_prediction")
    logits = np.asarray(network(images), np.float64)
    means = stats.gmean(1 / (1 + np.exp(-logits)), axis=0)
    found = scores_of(selection)
    assert found == pytest.approx(
        {"surface": np.log(means[0]), "form": np.log(means[1])}, abs=1e-4
    )
    # One pass, of the prediction network.
    assert selection.computed + selection.cached == NUMBER
    assert selection.baseline.endswith("baseline/1")


def test_leep_goes_through_the_upstream_s_head(
    pool, task, rows, classifier, images
):
    found = scores_of(select(task, [pool], "leep"))
    shares = predicted(classifier, images)
    shares /= shares.sum(axis=1, keepdims=True)
    expected = transferability.leep(shares, task.train.labels)
    assert found["baseline"] == pytest.approx(expected, abs=1e-4)
    assert set(found) == set(rows)


def test_names_alone_choose_without_an_image(pool, tmp_path):
    lines = [
        f"{above} {child}"
        for child, parents in synthetic.make_hierarchy().parents.items()
        for above in parents
    ]
    (tmp_path / "h.is_a.txt").write_text("\n".join(lines))
    few = synthetic.digits_task(NUMBER).train
    names = ["Triangles", "stars", "bicycle"]
    train = few.subset(np.arange(NUMBER))
    object.__setattr__(train, "labels", np.arange(NUMBER) % 3)
    object.__setattr__(train, "class_names", names)
    task = Task("shapes", train, train)
    strategy = NameMatching(str(tmp_path / "h.is_a.txt"))
    selection = select(task, [pool], strategy)
    assert selection.best.expert == "form"
    assert selection.computed == selection.cached == 0
    told = {
        name: handles.read_metadata(str(pool / f"acme/experts/{name}/1"))
        for name in ("form", "baseline")
    }
    share = told["form"]["num_images"] / told["baseline"]["num_images"]
    expected = 2 / 3 * np.log(0.99 / share + 0.01)
    assert scores_of(selection)["form"] == pytest.approx(expected)
    assert scores_of(selection)["baseline"] == 0.0


def test_chance_picks_each_expert_as_often_and_the_baseline_itself(pool, task):
    best = [
        select(task, [pool], Random(seed)).ranking[0].expert
        for seed in range(60)
    ]
    counts = [best.count(name) for name in ("form", "surface")]
    assert sum(counts) == 60  # and never the baseline
    assert stats.chisquare(counts).pvalue > 0.001
    of_tasks = {
        select(
            dataclasses.replace(task, name=f"task{number}"), [pool], "random"
        ).best.expert
        for number in range(10)
    }
    assert of_tasks == {"form", "surface"}  # drawn anew
    selection = select(task, [pool], "baseline")
    assert selection.best.expert == "baseline"
    assert selection.computed == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_refuse_what_they_cannot_score_in_one_line(
    task, strategy, tmp_path
):
    """A pool of one function, which has no head, prior or domain."""

    def pixels(images):
        return np.reshape(np.asarray(images), (len(images), -1))[:, ::997]

    try:
        selection = select(task, [pixels], strategy)
    except ValueError as error:
        assert "Received: " in str(error) and "\n" not in str(error)
        assert strategy in (
            *("leep", "domain_prediction", "label_matching"),
            *("name_matching", "baseline", "dat"),
        )
    else:
        assert len(selection.ranking) == 1


def test_adapters_are_chosen_image_by_image(pool, task, rows, network, images):
    found = select(task, [pool], combining=True).combination
    logits = np.asarray(network(images), np.float64)
    labels = task.train.labels
    mixed = np.where(
        logits[:, :1] >= logits[:, 1:], rows["surface"], rows["form"]
    )
    mixed = np.where((logits < 0).all(axis=1)[:, None], rows["baseline"], mixed)
    hits = 0
    for i in range(NUMBER):
        distances = ((mixed - mixed[i]).astype(np.float64) ** 2).sum(axis=1)
        distances[i] = np.inf
        hits += labels[distances.argmin()] == labels[i]
    assert found["routed_accuracy"] == hits / NUMBER
