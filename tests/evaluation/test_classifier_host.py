"""A fine-tuned folder over real sockets."""

import json
import threading
import urllib.error
import urllib.request

import keras
import pytest
import uvicorn

import keras_experts
from keras_experts import cli
from keras_experts.evaluation.prediction import predict


@pytest.fixture(scope="module")
def finetuned(image_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    keras.Model(images, features).save(folder / "mean.keras")
    keras_experts.finetune(
        folder / "mean.keras",
        image_folder,
        folder / "out",
        num_images=640,
        batch_size=16,
        base_learning_rate=50.0,
    )
    return folder / "out"


@pytest.fixture
def address(finetuned, monkeypatch):
    """Runs the command's server in a thread; its address."""
    started, servers, addresses = threading.Event(), [], []

    def run(server, sockets):
        servers.append(server)
        addresses.append(sockets[0].getsockname())
        started.set()
        original(server, sockets)

    original = uvicorn.Server.run
    monkeypatch.setattr(uvicorn.Server, "run", run)
    thread = threading.Thread(
        target=cli.main, args=(["serve", str(finetuned), "--port", "0"],)
    )
    thread.start()
    assert started.wait(60)
    host, port = addresses[0]
    yield f"http://{host}:{port}"
    servers[0].should_exit = True
    thread.join(20)


def send(address, content):
    with urllib.request.urlopen(f"{address}/predict", content) as response:
        return json.loads(response.read())


def test_fine_tuned_folder_is_served_with_its_page_and_predictions(
    address, finetuned, image_folder
):
    path = image_folder / "dog" / "3.png"
    (row,) = predict(finetuned, [path])
    del row["file"]
    assert send(address, path.read_bytes()) == row
    with urllib.request.urlopen(f"{address}/") as response:
        assert response.read() == (finetuned / "report.html").read_bytes()
    with pytest.raises(urllib.error.HTTPError) as caught:
        send(address, b"no image")
    assert caught.value.code == 400
    assert "image" in json.loads(caught.value.read())["error"]
    caught.value.close()
