"""Training the head alone, on features that are computed once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_experts
from keras_experts.training.transfer import Recipe

QUICK = {"num_images": 640, "batch_size": 16, "base_learning_rate": 50.0}


@keras.saving.register_keras_serializable("head_only_test")
class Counter(keras.layers.Layer):
    """Counts the images that pass; those that fill up a batch are black."""

    count = 0

    def call(self, images):
        def add(batch):
            Counter.count += int(np.any(batch > 0, axis=(1, 2, 3)).sum())
            return batch

        passed = tf.numpy_function(add, [images], images.dtype)
        return tf.ensure_shape(passed, images.shape)

    def compute_output_shape(self, shape):
        return shape


@pytest.fixture
def counted(tmp_path):
    """The file of a network that counts the images it is run on."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    counter = Counter(dtype="float32")
    features = keras.layers.Conv2D(6, 3, activation="relu")(counter(images))
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(0.5)(features)
    path = tmp_path / "counted.keras"
    keras.Model(images, features).save(path)
    Counter.count = 0
    return path


@pytest.mark.slow
def test_frozen_network_runs_once_for_each_image(
    counted, image_folder, tmp_path
):
    output = tmp_path / "out"
    metrics = keras_experts.finetune(
        counted,
        image_folder,
        output,
        groups=["head"],
        validation=0.2,
        **{**QUICK, "base_learning_rate": [50.0, 5.0]},
    )
    assert Counter.count == 30  # of the training, held-out and test images
    assert metrics["train_accuracy"] == 1.0  # each class has its own colour
    before = keras.saving.load_model(counted).get_weights()
    after = keras.saving.load_model(output / "model.keras").get_weights()
    for old, new in zip(before, after, strict=False):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_module_without_trainable_weights_gets_a_trained_head(
    image_folder, tmp_path, capfd
):
    """A SavedModel without variables and a Keras network that was frozen."""
    root = tf.train.Checkpoint()
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    root.__call__ = tf.function(
        lambda x: tf.reduce_mean(x, axis=(1, 2)), input_signature=[spec]
    )
    tf.saved_model.save(root, str(tmp_path / "module"))
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    keras.Model(images, features).save(tmp_path / "mean.keras")
    for name in ("module", "mean.keras"):
        for groups in ((), ("head",)):
            metrics = keras_experts.finetune(
                tmp_path / name,
                image_folder,
                tmp_path / f"{name}{len(groups)}",
                image_size=8,
                groups=groups,
                **QUICK,
            )
            assert metrics["groups"] == ["head"]
            assert metrics["train_accuracy"] == 1.0
        assert "no trainable weights" in capfd.readouterr().err


@pytest.mark.parametrize("augmentation", [{"flip": True}, {"max_shift": 1}])
def test_augmentation_is_refused_where_features_are_computed_once(augmentation):
    with pytest.raises(ValueError, match="are not augmented"):
        Recipe(64, 16, groups=("head",), **augmentation)
