"""A host of a fine-tuned classifier: its page, and its predictions."""

import tempfile
from pathlib import Path

import tensorflow as tf
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.responses import JSONResponse
from starlette.routing import Route

from keras_experts.data.image_files import read_image
from keras_experts.data.preprocessing import resize
from keras_experts.evaluation.prediction import labeled
from keras_experts.evaluation.prediction import load_classifier
from keras_experts.mediums import TEXTS
from keras_experts.training.finetuning import PAGE_FILE

MAX_BYTES = 64 * 2**20  # of an image or a text that is sent


def make_app(folder: str | Path, trust: bool = False) -> Starlette:
    """Builds the web application of a fine-tuned classifier.

    `GET /` returns the page of the fine-tuning. `POST /predict`, with an
    image file or a text as its body, returns JSON with `class`,
    `probability` and `probabilities`.

    Args:
        folder: that `finetune` wrote.
        trust: bool. As in `load_module`.

    Raises:
        FileNotFoundError: if the folder is not there.
        ValueError: if it does not hold a classifier.
    """
    host = _Host(Path(folder), trust)
    return Starlette(
        routes=[
            Route("/", host.page),
            Route("/predict", host.predict, methods=["POST"]),
        ]
    )


class _Host:
    """Answers the requests for one classifier."""

    def __init__(self, folder: Path, trust: bool):
        self._module, self._metadata = load_classifier(folder, trust)
        self._page = folder / PAGE_FILE
        if not self._page.is_file():
            raise FileNotFoundError(
                "A classifier to serve must have its page. "
                f"Received: {folder} without {PAGE_FILE}."
            )

    async def page(self, request: Request) -> FileResponse:
        """Returns the page of the fine-tuning."""
        return FileResponse(self._page)

    async def predict(self, request: Request) -> JSONResponse:
        """Returns the class of the image or the text in the body."""
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MAX_BYTES:
                limit = f"at most {MAX_BYTES:,} bytes are read"
                return JSONResponse({"error": limit}, status_code=413)
        try:
            row = await run_in_threadpool(self._classify, bytes(content))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(row)

    def _classify(self, content: bytes) -> dict:
        if self._metadata.get("medium") == TEXTS:
            logits = self._module(tf.constant([content]))
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "body"
                path.write_bytes(content)
                readable = read_image(path)
            size = self._metadata["image_size"]
            image = resize(tf.constant(readable), size)
            logits = self._module(image[None])
        probabilities = tf.nn.softmax(logits[0]).numpy()
        return labeled(probabilities, self._metadata["class_names"])
