"""Upstream texts: CSV or JSONL files whose labels are nodes of a hierarchy."""

from keras_experts import config
from keras_experts.data import texts
from keras_experts.data import upstream_sources
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.upstream import Upstream
from keras_experts.hierarchy import Hierarchy
from keras_experts.text.columns import Columns
from keras_experts.text.tables import stem_of


@config.register
def text_upstream(
    train_texts: str,
    hierarchy: str,
    test_texts: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Upstream:
    """Reads upstream texts, any number of labels each.

    Args:
        train_texts: str. Path of a file as `load_task` reads it; a label is
            nodes with spaces between them.
        hierarchy: str. As in `tfds_upstream`.
        test_texts: str. As `train_texts`, to evaluate on; without it a fifth
            of the texts, by their hash.
        text_column: str. As in `load_task`.
        label_column: str. As in `load_task`.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a label is no node of the hierarchy.
    """
    dag = Hierarchy.read(hierarchy)
    columns = Columns(text_column, label_column)
    rows = texts.read_nodes(train_texts, columns)
    sides = upstream_sources.hold_out(rows, texts.key_of)
    if test_texts is not None:
        sides = rows, texts.read_nodes(test_texts, columns)
    classes = sorted({n for side in sides for _, nodes in side for n in nodes})
    return upstream_sources.from_rows(
        stem_of(train_texts), dag, classes, *sides, make=_to_texts
    )


def _to_texts(rows: list[texts.TextRow], classes: list[str]) -> LabeledImages:
    return texts.to_texts(rows, [-1] * len(rows), classes)
