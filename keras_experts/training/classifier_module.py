"""Writing fine-tuned classifiers, which also take files as they are."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_experts.data.preprocessing import resize
from keras_experts.saved_models.writing import write_keras_module

# TensorFlow Serving decodes what ends so from base64.
FILES = tf.TensorSpec((None,), tf.string, "image_bytes")


def write_classifier(
    directory: str | Path,
    model: keras.Model,
    image_size: int,
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
        image_size: int. Side to scale to, pixels.
        class_names: of the logits.
        name: str.
    """
    names = tf.constant(class_names)

    @tf.function(input_signature=[FILES])
    def serve_files(image_bytes):
        images = tf.map_fn(
            lambda content: resize(content, image_size),
            image_bytes,
            fn_output_signature=tf.TensorSpec(
                (image_size, image_size, 3), tf.float32
            ),
        )
        probabilities = tf.nn.softmax(model(images, training=False))
        order = tf.argsort(probabilities, direction="DESCENDING", stable=True)
        return {
            "classes": tf.gather(names, order),
            "probabilities": tf.gather(probabilities, order, batch_dims=1),
        }

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
