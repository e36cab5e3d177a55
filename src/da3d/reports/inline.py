"""Figures inside a page: a matplotlib figure becomes an SVG element that the page's style sheet colours.

What matplotlib writes is a whole document with colours of its own. Here its text stays text, its colours
become the CSS variables of the page (so that one picture serves light, dark and paper), its names become
unique in the page, and what only a document needs is left out.
"""

from __future__ import annotations

import re
from io import StringIO
from xml.etree import ElementTree as Tree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from da3d.reports.drawing import AMBER, BAND, BLUE, FAINT, GREEN, INK, PURPLE, SKY, VERMILION

__all__ = ["inline_svg"]

_VARIABLES = {
    colour.lower(): f"var(--{name})"
    for name, colour in {
        "amber": AMBER,
        "band": BAND,
        "blue": BLUE,
        "faint": FAINT,
        "green": GREEN,
        "ink": INK,
        "purple": PURPLE,
        "sky": SKY,
        "vermilion": VERMILION,
    }.items()
} | {"#000000": "var(--ink)"}
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"(?:^|url\()#([\w.-]+)")
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_FONT = re.compile(r"font:\s*(?:\w+\s+)*?([\d.]+px)[^;]*")
_UPRIGHT = re.compile(r"rotate\(-?0 ")
_DOCUMENT_ONLY = ("metadata", "style")


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The SVG element of a figure, ready to be put into an HTML page.

    Parameters
    ----------
    figure : Figure
        Its colours are those of `da3d.reports.drawing`; each becomes the CSS variable of its name.
    name : str
        Unique in the page; every id inside begins with it. Letters, digits and hyphens.
    title, description : str
        What the picture is and what it shows, for those who cannot see it.
    """
    stream = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    root = Tree.fromstring(stream.getvalue())
    _strip(root)
    _rename(root, name)
    for element in root.iter():
        _restyle(element)
    for element in root.iter():
        _share_style(element)
    _describe(root, name, title, description)
    return Markup(Tree.tostring(root, encoding="unicode"))


def _strip(element: Tree.Element) -> None:
    """Leave out namespaces, which HTML supplies, and what belongs to a document of its own."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    element.text = element.text if element.tag in ("text", "tspan") else None
    element.tail = None
    for child in list(element):
        _strip(child)
        if child.tag in _DOCUMENT_ONLY or _empty(child):
            element.remove(child)


def _empty(element: Tree.Element) -> bool:
    """Whether there is nothing to see or to refer to."""
    frame = element.tag == "path" and element.get("style") == "fill: none" and "id" not in element.attrib
    return frame or (element.tag in ("defs", "g") and not len(element))


def _rename(root: Tree.Element, name: str) -> None:
    """Keep only ids that something refers to, under short names that begin with the picture's."""
    used = dict.fromkeys(
        found
        for element in root.iter()
        for value in element.attrib.values()
        for found in _REFERENCE.findall(value)
    )
    names = {old: f"{name}-{place}" for place, old in enumerate(used)}
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in names:
            element.attrib["id"] = names[str(own)]
        for key, value in element.attrib.items():
            element.attrib[key] = _REFERENCE.sub(
                lambda match: match[0].replace(match[1], names[match[1]]), value
            )


def _restyle(element: Tree.Element) -> None:
    """The page's colours and fonts, and no more digits than one can see."""
    for key, value in element.attrib.items():
        if key in ("id", "href", "clip-path"):
            continue
        value = _COLOUR.sub(lambda match: _VARIABLES.get(match[0].lower(), match[0]), value)
        value = _FONT.sub(r"font-size: \1", _FAMILY.sub("", value))
        value = _DECIMALS.sub(lambda match: f"{float(match[0]):.2f}", value)
        element.attrib[key] = " ".join(value.split())
    if _UPRIGHT.match(element.get("transform", "")):
        del element.attrib["transform"]


def _share_style(group: Tree.Element) -> None:
    """Say once what all markers of a group have in common."""
    styles = {child.get("style") for child in group}
    if group.tag != "g" or len(group) < 3 or {child.tag for child in group} != {"use"} or len(styles) != 1:
        return
    if (common := styles.pop()) is not None and "style" not in group.attrib:
        group.attrib["style"] = common
        for child in group:
            del child.attrib["style"]


def _describe(root: Tree.Element, name: str, title: str, description: str) -> None:
    """Size by the page, and words for those who cannot see the picture."""
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        words = Tree.Element(tag, {"id": f"{name}-{'text' if place else 'title'}"})
        words.text = text
        root.insert(place, words)
