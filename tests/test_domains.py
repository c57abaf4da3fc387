"""The file of expert domains."""

import json

import pytest

from keras_experts import domains


@pytest.mark.parametrize("content", [[], {}, "", None])
def test_file_without_experts_is_refused(tmp_path, content):
    path = tmp_path / "experts.json"
    path.write_text(json.dumps({"hierarchy": "h", "experts": content}))
    with pytest.raises(ValueError, match="at least one expert") as caught:
        domains.read_experts(path)
    assert str(path) in str(caught.value)
