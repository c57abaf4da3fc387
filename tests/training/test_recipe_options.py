"""Length, batch size and learning rates that nobody gave."""

import pytest

from keras_experts import cli
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.training.recipe_options import RecipeOptions
from keras_experts.training.transfer import Recipe


def chosen(num_parameters=900_000, num_train=1000, modality=IMAGES, **given):
    options = RecipeOptions(**given)
    recipes = options.recipes(Recipe(), num_parameters, num_train, modality)
    return list(recipes.values())


def test_length_follows_the_training_set_within_bounds():
    lengths = [
        chosen(num_train=number)[0].num_images
        for number in (20, 400, 401, 1000, 10**6)
    ]
    assert lengths == [3200, 3200, 3208, 8000, 256_000]


def test_small_network_gets_ten_times_the_rates_of_a_large_one():
    small, large = (
        [recipe.base_learning_rate for recipe in chosen(number)]
        for number in (900_000, 23_500_352)
    )
    assert [10 * rate for rate in large] == pytest.approx(small)
    assert min(large) > 0.003  # the rule's rate is for its 500 long steps


def test_first_of_several_rates_is_the_middle_one():
    for modality in (IMAGES, TEXTS):
        rates = [r.base_learning_rate for r in chosen(modality=modality)]
        assert len(rates) == 3 and sorted(rates)[1] == rates[0]


def test_few_examples_are_not_split_to_try_rates():
    assert len(chosen(num_train=49)) == 1
    assert len(chosen(num_train=50)) == 3


def test_given_settings_are_kept_and_reported_nowhere(capsys):
    given = {"num_images": 640, "batch_size": 16, "base_learning_rate": 1.0}
    (recipe,) = chosen(**given)
    assert {name: getattr(recipe, name) for name in given} == given
    assert capsys.readouterr().err == ""
    recipes = chosen(num_images=640)
    assert {recipe.num_images for recipe in recipes} == {640}
    assert "--num_images" not in capsys.readouterr().err


def test_flags_of_the_report_choose_the_same(capsys, tmp_path):
    expected = chosen()
    (line,) = capsys.readouterr().err.splitlines()
    flags = line.split(": ", 1)[1].split(" (")[0].split()
    place = str(tmp_path)
    command = ["finetune", "--module", place, "--task", place, "--output", "o"]
    options = cli.make_parser().parse_args([*command, *flags])
    found = chosen(
        num_images=options.num_images,
        batch_size=options.batch_size,
        base_learning_rate=options.base_learning_rate,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"num_images": 1}, "num_images"),
        ({"batch_size": 0}, "batch_size"),
        ({"base_learning_rate": -1.0}, "base_learning_rate"),
        ({"base_learning_rate": ()}, "learning rate"),
    ],
)
def test_wrong_settings_are_refused_before_a_module_is_loaded(wrong, rule):
    with pytest.raises(ValueError, match=rule):
        RecipeOptions(**wrong)
