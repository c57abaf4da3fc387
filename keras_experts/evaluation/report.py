"""Results as one self-contained page."""

from pathlib import Path

import jinja2

from keras_experts import files
from keras_experts.config import find_shared


def write_report(path: str | Path, title: str, rows: list[dict]) -> None:
    """Writes a page with a table and each task's ranking as bars.

    Args:
        path: file to write.
        title: str. Headline.
        rows: list of dict: `task`, `expert`, `expert_score`,
            `baseline_score`, `expert_accuracy`, `baseline_accuracy` and
            `ranking` (as in `selection.json`).
    """
    folder = find_shared("export/templates", "export_templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
    )
    template = environment.get_template("report.html.j2")
    files.write_text(path, template.render(title=title, rows=rows))
