"""What networks and tasks are of: images or texts."""

IMAGES, TEXTS = "images", "texts"


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
