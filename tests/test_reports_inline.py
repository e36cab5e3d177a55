"""Figures as SVG elements of a page."""

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

from da3d.reports.drawing import BLUE, INK, VERMILION
from da3d.reports.inline import inline_svg


def drawn(name="one", points=40):
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    random = np.random.default_rng(0)
    axes.scatter(random.random(points), random.random(points), c=BLUE, s=9)
    axes.plot([0, 1], [0, 1], color=VERMILION)
    axes.set_xlabel("a < b & c", color=INK)
    return inline_svg(figure, name, "Title & more", "Text <here>")


def test_the_element_stands_by_itself():
    root = ElementTree.fromstring(drawn())
    assert root.tag == "svg"
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & set(root.attrib)
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert (root[0].text, root[1].text) == ("Title & more", "Text <here>")
    assert "http" not in drawn()
    assert "<style" not in drawn()


def test_text_is_text_in_the_font_of_the_page():
    root = ElementTree.fromstring(drawn())
    texts = [element.text for element in root.iter("text")]
    assert "a < b & c" in texts
    assert "font-family" not in drawn()
    assert re.search(r'<text style="font-size: \d+px', drawn())


def test_colours_are_variables():
    assert not re.search(r"#[0-9a-f]{6}", drawn())
    assert {"var(--blue)", "var(--vermilion)", "var(--ink)"} <= set(re.findall(r"var\(--\w+\)", drawn()))


def test_every_name_is_used_and_begins_with_that_of_the_picture():
    one, two = drawn("one"), drawn("two")
    ids = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (one, two)]
    assert not ids[0] & ids[1]
    assert all(name.startswith("one-") for name in ids[0])
    used = {
        *re.findall(r"url\(#([^)]+)\)", one),
        *re.findall(r'href="#([^"]+)"', one),
        "one-title",
        "one-text",
    }
    assert ids[0] == used


def test_pictures_are_small_equal_and_leave_settings_alone():
    before = rcParams["svg.fonttype"], rcParams["svg.hashsalt"]
    assert drawn() == drawn()
    assert (rcParams["svg.fonttype"], rcParams["svg.hashsalt"]) == before
    assert (len(drawn(points=240)) - len(drawn(points=40))) / 200 < 60
