"""Our docstrings as griffe shows them: types stand in their own text."""

import griffe
from griffe import DocstringSectionKind as Kind

CALL_ARGUMENTS = "Call arguments:"
OPTIONS = {
    "returns_multiple_items": False,
    "returns_named_value": False,
    "warn_missing_types": False,
    "warn_unknown_params": False,
}
ARGUMENTS = (Kind.parameters, Kind.other_parameters, Kind.attributes)


class OurDocstrings(griffe.Extension):
    """Shows `Call arguments` as arguments, and types once."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Parses a docstring once and for all."""
        if obj.docstring is None:
            return
        # Parsed as arguments, under their own title.
        text = obj.docstring.value.replace(CALL_ARGUMENTS, "Other Parameters:")
        sections = griffe.Docstring(
            text, parent=obj.docstring.parent, lineno=obj.docstring.lineno
        ).parse("google", **OPTIONS)
        # A cached property: what is set here is what is shown.
        obj.docstring.__dict__["parsed"] = list(map(_shown, sections))


def _shown(section: griffe.DocstringSection) -> griffe.DocstringSection:
    if section.kind is Kind.returns:
        told = section.value[0].description
        return griffe.DocstringSectionText(f"**Returns:** {told}")
    if section.kind in ARGUMENTS:
        for argument in section.value:
            argument.annotation = None
    if section.kind is Kind.other_parameters:
        section.title = CALL_ARGUMENTS
    if section.kind is Kind.admonition and section.title == "References":
        told = section.value.description
        return griffe.DocstringSectionText(f"**References:** {told}")
    return section
