"""What networks and tasks are of: images or texts."""

IMAGES, TEXTS = "images", "texts"
# What an encoder of texts takes, in TensorFlow Hub's common API: int32
# `(batch, seq_length)` each. The order is that in which they are stacked.
PACKED = ("input_word_ids", "input_mask", "input_type_ids")
# What it gives; the first is there in all of them.
DEFAULT, POOLED, SEQUENCE = "default", "pooled_output", "sequence_output"


def import_tensorflow_text(purpose: str):
    """Gives the module `tensorflow_text`, which registers its operations.

    Args:
        purpose: str. What needs it, as the subject of a sentence.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    try:
        import tensorflow_text
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs the extra: pip install 'keras_experts[text]'. "
            f"Received: {error}."
        ) from error
    return tensorflow_text
