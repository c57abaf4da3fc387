"""Model cards in the Markdown of tfhub.dev."""

import jinja2

from keras_experts.config import find_shared


def render(template: str, **values) -> str:
    """Fills in one of the templates of `export/templates/`.

    Args:
        template: str. File name, such as "module.md.j2".
        **values: what the template names; a missing one is an error.
    """
    folder = find_shared("export/templates", "export_templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # the result is Markdown
    )
    return environment.get_template(template).render(**values)
