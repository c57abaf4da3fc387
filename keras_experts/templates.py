"""Templates of `export/templates/`: cards and pages."""

import jinja2

from keras_experts.config import find_shared


def render(template: str, **values) -> str:
    """Fills in a template.

    Args:
        template: str. File name, such as "module.md.j2"; of those that are
            called `.html.j2` values are escaped.
        **values: what the template names; a missing one is an error.
    """
    folder = find_shared("export/templates", "export_templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=template.endswith(".html.j2"),
    )
    return environment.get_template(template).render(**values)
