"""A page of thumbnails beside the report: middle slices of each site's scans, for a person to look at.

What no rule notices is seen at a glance: an organ that is not the chest, a volume upside down, a body cut off.
"""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.importing.report import ImportReport, TakenScan
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import StorageError
from flprivacy.core.png import png_bytes
from flprivacy.core.publish import publish_file

Image = npt.NDArray[np.uint8]
Look = tuple[Image, Image]  # middle slices from above (height, width) and from the front (depth, width)

_USUAL, _ODD, MOST_LOOKS = 6, 18, 48  # usual and odd scans of a site, scans left out
_EDGE_PIXELS = 96
_STYLE = (
    "body{font:14px sans-serif;margin:2em;background:#111;color:#ddd}h2{margin-top:1.5em}"
    "figure{display:inline-block;margin:0 8px 12px 0;width:292px;vertical-align:top;border-top:3px solid #444}"
    "figure.odd{border-color:#e90}figure.out{border-color:#e33}li{margin:2px 0}"
    "img{width:144px;height:144px;margin:2px 2px 2px 0;image-rendering:pixelated}"
    "figcaption{font-size:12px;line-height:1.35;overflow-wrap:anywhere}"
)
_LEGEND = (
    "Middle slices of each scan: from above (chest on top, the patient's right on the left), and from the front ("
    "head on top). Orange: something is noted. Red: left out."
)


def write_thumbnails(path: Path, report: ImportReport, cohort: Cohort | None, refused: Mapping[str, Look]) -> None:
    """Write the page, atomically, as one HTML file that needs no other.

    Every scan shows its middle slice from above and from the front.

    Args:
        path: the file.
        report: says which scans there are, and what is noted of them.
        cohort: what was written; None where nothing was.
        refused: pseudonym of a scan left out -> what it looks like, from :func:`look_of`.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        with publish_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
            stream.writelines(_page(report, cohort, refused))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); free space") from error


def _page(report: ImportReport, cohort: Cohort | None, refused: Mapping[str, Look]) -> Iterator[str]:
    name = _text(report.config.name)
    yield f'<!doctype html><meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style><h1>{name}</h1>\n'
    yield f"<p>{_LEGEND}</p>\n"
    yield _listed(report.notes)
    if cohort is not None:
        for site, scans in report.sites.items():
            yield f"<h2>{_text(site)}: {scans} scans</h2>\n"
            yield from _of_site([scan for scan in report.taken if scan.site == site], cohort)
    if report.left_out:
        yield f"<h2>left out: {len(report.left_out)}</h2>\n"
        yield _listed([f"{reason}: {count}" for reason, count in report.reasons.items()])
    for item in report.left_out:
        if item.item in refused:
            yield _figure(refused[item.item], [item.item, item.reason, item.detail], "out")


def _of_site(scans: Sequence[TakenScan], cohort: Cohort) -> Iterator[str]:
    """Yield the figures of a site: its odd scans first, then some of the usual ones, from all over."""
    odd = [scan for scan in scans if scan.notes][:_ODD]
    usual = [scan for scan in scans if not scan.notes]
    places: list[int] = np.unique(np.linspace(0, len(usual) - 1, _USUAL).astype(int)).tolist() if usual else []
    numbers = {scan_id: row for row, scan_id in enumerate(cohort.manifest["scan_id"])}
    for scan in [*odd, *(usual[place] for place in places)]:
        volume = read_volumes(cohort, np.array([numbers[scan.scan_id]]))[0]
        captions = [scan.scan_id, f"{scan.slices} slices", *scan.notes]
        yield _figure(_middles(volume), captions, "odd" if scan.notes else "usual")
    if (hidden := len(scans) - len(odd) - len(places)) > 0:
        yield f"<p>and {hidden} more</p>\n"


def _listed(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>\n" if lines else ""


def look_of(volume: npt.NDArray[np.floating[Any]]) -> Look:
    """Return the thumbnails of a volume (depth, height, width) in any unit, its values stretched to 0 to 255."""
    low, high = float(volume.min()), float(volume.max())
    return _middles(np.asarray((volume - low) * (255.0 / ((high - low) or 1.0)), dtype=np.uint8))


def _middles(volume: Image) -> Look:
    above, front = volume[volume.shape[0] // 2], volume[:, volume.shape[1] // 2]
    return _small(above), _small(front)


def _small(image: Image) -> Image:
    return image[:: -(-image.shape[0] // _EDGE_PIXELS), :: -(-image.shape[1] // _EDGE_PIXELS)].copy()


def _figure(look: Look, captions: Sequence[str], kind: str) -> str:
    images = "".join(f'<img alt="" src="data:image/png;base64,{_png(image)}">' for image in look)
    caption = "<br>".join(_text(part) for part in captions if part)
    return f"<figure class='{kind}'>{images}<figcaption>{caption}</figcaption></figure>\n"


def _png(image: Image) -> str:
    """Return a grey image as base64 of a PNG file."""
    return base64.b64encode(png_bytes(image)).decode()


def _text(value: str) -> str:
    return html.escape(value)
