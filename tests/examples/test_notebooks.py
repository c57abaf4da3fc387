import os
from pathlib import Path

import nbclient
import nbformat
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_notebook_of_selection_runs_from_top_to_bottom(
    collection, tmp_path, monkeypatch
):
    # Where its text tells the reader to start it.
    (tmp_path / "demo").mkdir()
    os.symlink(collection, tmp_path / "demo" / "collection")
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.read(EXAMPLES / "choosing_an_expert.ipynb", 4)
    client = nbclient.NotebookClient(
        notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    text = "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stdout"
    )
    assert text.startswith("digits: leave-one-out accuracy")
    assert text.count("forward passes: 0") == 2
    assert (tmp_path / "selection.html").exists()
