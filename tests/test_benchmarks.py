import importlib.util
import os
from pathlib import Path
from unittest import mock

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem
)
def test_benchmark_finds_what_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    # Some choose a backend, which is not for other tests' processes.
    with mock.patch.dict(os.environ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
