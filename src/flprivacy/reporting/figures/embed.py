"""Figures as data URIs: the page needs no other file, and an image cannot run script or collide with ids."""

import base64
import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from flprivacy.reporting.figures.style import RC

_LARGE_SVG_BYTES = 110_000
_DPI = 150
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_BREAK = re.compile(r"\s*\n\s*")
_GLYPH_AT = re.compile(r' transform="translate\((-?[\d.]+) 0\)"/>')
_OUTLINE = re.compile(r' d="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG, with its text as outlines so that it looks the same everywhere."""
    return _slim(_saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()).encode()


def webp(figure: Figure) -> bytes:
    """Return the figure as pixels without loss, fine enough for print, at less than half of a PNG's size."""
    buffer, pixels = io.BytesIO(), _saved(figure, "raw")
    size = [int(inches * _DPI) for inches in figure.get_size_inches()]
    Image.frombytes("RGBA", (size[0], size[1]), pixels).convert("RGB").save(buffer, format="webp", lossless=True)
    return buffer.getvalue()


def data_uri(figure: Figure) -> str:
    """Return the figure as an image to be put into ``src``: SVG, or pixels where SVG is large and larger."""
    drawn, kind = svg(figure), "svg+xml"
    if len(drawn) > _LARGE_SVG_BYTES:
        pixels = webp(figure)
        if len(pixels) < len(drawn):
            drawn, kind = pixels, "webp"
    return f"data:image/{kind};base64,{base64.b64encode(drawn).decode()}"


def _slim(text: str) -> str:
    """Return matplotlib's SVG at about half its size: no comments, no indents, coordinates to 1/100 point."""
    text = _GLYPH_AT.sub(lambda found: f' x="{float(found[1]):.1f}"/>', _COMMENT.sub("", text))
    text = _OUTLINE.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), text)
    return _BREAK.sub("\n", text).replace("DejaVuSans-", "D")


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(buffer, format=kind, dpi=_DPI, **options)
    return buffer.getvalue()
