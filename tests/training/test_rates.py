"""Of several learning rates the best one on images held out is taken."""

import keras
import numpy as np
import pytest

import keras_experts
from keras_experts import cli
from keras_experts.data.tasks import load_task
from keras_experts.training import rates as rates_module
from keras_experts.training.rates import choose_recipe
from keras_experts.training.rates import recipes_of
from keras_experts.training.transfer import Recipe
from keras_experts.training.transfer import Transfer

QUICK = {"num_images": 32, "batch_size": 16}
LONG = {"num_images": 480, "batch_size": 16}
# One that learns nothing, one that learns, one that diverges.
RATES = (0.0, 1.0, 1e38)


@pytest.fixture(scope="module")
def chosen(baseline_module, image_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("rates") / "finetuned"
    metrics = keras_experts.finetune(
        baseline_module, image_folder, output, base_learning_rate=RATES, **LONG
    )
    return output, metrics


def test_rate_that_is_best_on_images_held_out_is_taken(chosen):
    tried = chosen[1]["rates"]
    assert list(tried) == ["0.0", "1.0", "1e+38"]
    assert tried["1.0"] > tried["0.0"] and tried["1e+38"] is None
    assert chosen[1]["base_learning_rate"] == 1.0
    page = (chosen[0] / "report.html").read_text()
    assert "The learning rate 1 is the best of those" in page
    assert "1e+38 (diverged)." in page


@pytest.mark.slow
def test_taken_rate_trains_on_all_images_as_if_it_were_alone(
    chosen, baseline_module, image_folder, tmp_path
):
    alone = keras_experts.finetune(
        baseline_module,
        image_folder,
        tmp_path / "alone",
        base_learning_rate=1.0,
        **LONG,
    )
    assert "rates" not in alone
    assert alone["num_train"] == chosen[1]["num_train"]
    models = [
        keras.saving.load_model(folder / "model.keras").get_weights()
        for folder in (chosen[0], tmp_path / "alone")
    ]
    for ours, theirs in zip(*models, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_rates_tried_before_a_kill_are_not_tried_again(
    baseline_module, image_folder, tmp_path, monkeypatch
):
    arguments = (baseline_module, image_folder, tmp_path / "out")
    fit, tried = Transfer.fit, []

    def killed(self, images, recipe, *others, **more):
        tried.append(recipe.base_learning_rate)
        if tried == [0.1, 1.0]:
            raise KeyboardInterrupt
        return fit(self, images, recipe, *others, **more)

    monkeypatch.setattr(Transfer, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        keras_experts.finetune(
            *arguments, base_learning_rate=(0.1, 1.0), **QUICK
        )
    keras_experts.finetune(*arguments, base_learning_rate=(0.1, 1.0), **QUICK)
    # The fourth is the training itself, on all images.
    assert tried[:3] == [0.1, 1.0, 1.0] and tried[3] in (0.1, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_part_and_rest_are_all_images_whatever_their_order(
    image_folder, monkeypatch
):
    images = load_task(image_folder).train
    seen = []

    class Fake:
        def fit(self, part, *others, num_train):
            assert num_train == images.num_examples  # as the HyperRule's
            seen.append(part)

        def predict(self, rest, title):
            seen.append(rest)
            return rest.labels

    recipe, tried = choose_recipe(
        Fake(), images, recipes_of((0.1, 0.2), Recipe()), 0, "task"
    )
    assert tried == {"0.1": 1.0, "0.2": 1.0}
    assert recipe.base_learning_rate == 0.1  # of equals the first
    part, rest = seen[:2]
    number = images.num_examples
    assert rest.num_examples == round(rates_module.SHARE * number)
    assert part.num_examples + rest.num_examples == number
    labels = np.concatenate([part.labels, rest.labels])
    assert sorted(labels) == sorted(images.labels)
    # Folders come class by class, but no class is held out whole.
    assert set(part.labels) == set(rest.labels) == set(images.labels)


class Diverging:
    """Rates above 1 diverge, and others get nothing right."""

    def fit(self, part, recipe, *others, num_train):
        if recipe.base_learning_rate > 1:
            raise FloatingPointError("diverged")

    def predict(self, rest, title):
        return rest.labels + 1


def test_rate_that_diverges_is_never_taken(image_folder):
    images = load_task(image_folder).train
    recipe, tried = choose_recipe(
        Diverging(), images, recipes_of((1e3, 0.1), Recipe()), 0, "task"
    )
    assert tried == {"1000.0": None, "0.1": 0.0}
    assert recipe.base_learning_rate == 0.1


@pytest.mark.slow
def test_rates_that_all_diverge_end_before_another_training(
    baseline_module, image_folder, tmp_path
):
    with pytest.raises(FloatingPointError, match="1e\\+38, 2e\\+38"):
        keras_experts.finetune(
            baseline_module,
            image_folder,
            tmp_path / "out",
            base_learning_rate=(1e38, 2e38),
            **LONG,
        )
    # No result, but the work that was done.
    assert [path.name for path in (tmp_path / "out").iterdir()] == [
        ".unfinished"
    ]


@pytest.mark.slow
def test_rates_are_tried_by_the_rule_of_all_images(
    baseline_module, image_folder, monkeypatch
):
    images = load_task(image_folder).train
    asked = []
    monkeypatch.setattr(
        "keras_experts.training.schedules.bit_mixup",
        lambda number: asked.append(number) or 0.0,
    )
    transfer = Transfer(baseline_module, len(images.class_names))
    choose_recipe(
        transfer, images, recipes_of((0.1, 0.2), Recipe(**QUICK)), 0, "task"
    )
    assert asked == [images.num_examples] * 2


def test_too_few_images_to_hold_some_out_are_refused(image_folder):
    images = load_task(image_folder).train.take(2)
    with pytest.raises(ValueError, match="Received: 2 images"):
        choose_recipe(None, images, recipes_of((1, 2), Recipe()), 0, "task")


def test_rates_that_differ_in_their_last_digits_are_two():
    assert len(recipes_of((0.12345678, 0.12345679), Recipe())) == 2


@pytest.mark.parametrize("wrong", [(), (0.1, -1.0), (0.1, float("nan"))])
def test_rates_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Received"):
        recipes_of(wrong, Recipe())


@pytest.mark.slow
def test_command_tells_the_rates(
    baseline_module, image_folder, tmp_path, capfd
):
    assert not cli.main(
        [
            *("finetune", "--module", baseline_module),
            *("--task", str(image_folder), "--output", str(tmp_path / "out")),
            *("--num_images", "480", "--batch_size", "16"),
            *("--base_learning_rate", "1e-9", "1"),
        ]
    )
    out, err = capfd.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("rate ")]
    assert lines[0].startswith("rate 1e-09 validation accuracy 0.")
    assert lines[1].startswith("rate 1.0 ") and lines[1].endswith("share taken")
    assert "Rate 1e-09, on " in err
