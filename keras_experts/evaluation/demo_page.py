"""Results as one self-contained page."""

from pathlib import Path

from keras_experts import files
from keras_experts import templates


def write_report(path: str | Path, title: str, rows: list[dict]) -> None:
    """Writes a page with a table and each task's ranking as bars.

    Args:
        path: file to write.
        title: str. Headline.
        rows: list of dict: `task`, `expert`, `expert_score`,
            `baseline_score`, `expert_accuracy`, `baseline_accuracy`,
            `ranking` (as in `selection.json`), and `links`, a dict of paths
            relative to the page: `selection`, `expert` and `baseline`, the
            pages of the selection and of the two fine-tuned networks.
    """
    page = templates.render("report.html.j2", title=title, rows=rows)
    files.write_text(path, page)
