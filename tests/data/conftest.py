"""Sets of images that tests of reading share."""

import numpy as np
import pytest


@pytest.fixture
def write_set(tmp_path):
    """A function that writes a TFDS set, and opens it.

    The images are of one value each, their position; splits besides `train`
    hold the first four.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def write(
        label,
        labels,
        name="drawn",
        shards=3,
        others=("test",),
        version="1.0.0",
        **features,
    ):
        features = {"label": label, **features}
        columns = {"label": labels}
        columns |= {key: labels for key in features if key != "label"}
        image = tf.TensorSpec((4, 4, 3), tf.uint8)
        signature = {key: f.get_tensor_spec() for key, f in features.items()}

        def examples(rows):
            for place in range(rows):
                yield {
                    "image": np.full((4, 4, 3), place, np.uint8),
                    **{
                        key: tf.constant(columns[key][place], spec.dtype)
                        for key, spec in signature.items()
                    },
                }

        def split(rows):
            return tf.data.Dataset.from_generator(
                lambda: examples(rows),
                output_signature={"image": image, **signature},
            )

        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version=version,
            data_dir=str(tmp_path),
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(4, 4, 3)), **features}
            ),
            split_datasets={
                "train": split(len(labels)),
                **{other: split(4) for other in others},
            },
            download_config=tfds.download.DownloadConfig(num_shards=shards),
            disable_shuffling=True,
        )
        from keras_experts.data import tfds_reader

        return tfds_reader.prepared_builder(name, str(tmp_path))

    return write
