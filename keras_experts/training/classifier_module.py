"""Writing fine-tuned classifiers, which take files or texts as they are."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from keras_experts.data.preprocessing import resize
from keras_experts.layers.hub_layer import HubLayer
from keras_experts.saved_models.preprocessor import TEXT_BATCH
from keras_experts.saved_models.writing import keras_object
from keras_experts.saved_models.writing import write_keras_module
from keras_experts.saved_models.writing import write_module
from keras_experts.training.inputs import Inputs

# TensorFlow Serving decodes what ends so from base64.
FILES = tf.TensorSpec((None,), tf.string, "image_bytes")


def write_classifier(
    directory: str | Path,
    model: keras.Model,
    inputs: Inputs,
    class_names: list[str],
    name: str,
) -> None:
    """Writes a classifier as a reusable SavedModel.

    Its signature `serving_default` takes images and gives `logits`;
    `serving_files` takes whole image files, `image_bytes` `(batch,)` (JPEG,
    PNG, GIF or BMP), and gives `classes` and `probabilities`
    `(batch, num_classes)`, the most probable first.

    Args:
        directory: folder to make; must be new or empty.
        model: from float images `(batch, height, width, 3)`, values in [0, 1],
            to logits `(batch, num_classes)`.
        inputs: Inputs of images.
        class_names: of the logits.
        name: str.
    """
    image_size = inputs.facts["image_size"]
    rank = _ranker(class_names)

    @tf.function(input_signature=[FILES])
    def serve_files(image_bytes):
        images = tf.map_fn(
            lambda content: resize(content, image_size),
            image_bytes,
            fn_output_signature=tf.TensorSpec(
                (image_size, image_size, 3), tf.float32
            ),
        )
        return rank(model(images, training=False))

    metadata = {
        "name": name,
        "kind": "classifier",
        "image_size": image_size,
        "class_names": class_names,
    }
    write_keras_module(
        directory,
        model,
        "logits",
        metadata,
        signatures={"serving_files": serve_files},
    )


def write_text_classifier(
    directory: str | Path,
    model: keras.Model,
    inputs: Inputs,
    class_names: list[str],
    name: str,
) -> None:
    """Writes a classifier of texts as a reusable SavedModel.

    The root takes strings `(batch,)`, UTF-8, and gives logits; so does its
    signature `serving_default`. `serving_texts` gives `classes` and
    `probabilities` `(batch, num_classes)`, the most probable first.
    TensorFlow needs `import tensorflow_text` to load it.

    Args:
        directory: folder to make; must be new or empty.
        model: from tokens, as `text_features` takes them, or from strings, to
            logits.
        inputs: Inputs of texts.
        class_names: of the logits.
        name: str.
    """
    pack, rank = inputs.plain, _ranker(class_names)

    def classify(texts, training=False):
        return model(pack.batch(texts), training=training)

    root, forward = keras_object(classify, TEXT_BATCH, model)
    # These may hold tables.
    root.preprocessor, root.resources = pack.module, _resources(model)

    @tf.function(input_signature=[TEXT_BATCH])
    def serve(inputs):
        return {"logits": forward(inputs)}

    @tf.function(input_signature=[TEXT_BATCH])
    def serve_texts(inputs):
        return rank(forward(inputs))

    metadata = {
        "name": name,
        "kind": "classifier",
        **inputs.facts,
        "class_names": class_names,
    }
    signatures = {"serving_default": serve, "serving_texts": serve_texts}
    write_module(directory, root, signatures, metadata)


def _resources(model: keras.Model) -> list:
    """Lists the SavedModels and the tables inside a network."""
    layers = list(model._flatten_layers())
    modules = [y._module for y in layers if isinstance(y, HubLayer)]
    tables = [getattr(layer, "lookup_table", None) for layer in layers]
    # A function that calls a signature is no SavedModel itself.
    modules = [getattr(m, "keras_experts_root", m) for m in modules]
    return [*modules, *(table for table in tables if table is not None)]


def _ranker(class_names: list[str]) -> Callable:
    """Makes the function of logits to labelled probabilities."""
    names = tf.constant(class_names)

    def rank(logits: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(logits)
        order = tf.argsort(probabilities, direction="DESCENDING", stable=True)
        return {
            "classes": tf.gather(names, order),
            "probabilities": tf.gather(probabilities, order, batch_dims=1),
        }

    return rank
