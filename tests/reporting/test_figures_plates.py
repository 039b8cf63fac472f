"""Every figure of an audit: complete, inside its frame, alike on every run, and leaving matplotlib alone."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib as mpl
import pytest
from example_audit import example_audit

from flprivacy.core.audit import Audit
from flprivacy.reporting.figures.curves import attack_curves
from flprivacy.reporting.figures.plates import plates
from flprivacy.reporting.figures.style import _saved, data_uri, svg


def test_audit_has_all_figures_once(audit: Audit) -> None:
    names = [p.name for p in plates(audit)]
    assert len(set(names)) == len(names)
    attacks = [(a, w) for a in ("site", "sex", "age_band", "age_years") for w in ("features", "outputs")]
    expected = {"excess-training", "utility", "ages-features", "ages-outputs"}
    expected |= {f"curves-{a}-{w}" for a, w in attacks}
    expected |= {f"confusion-{a}-{w}" for a, w in attacks if a != "age_years"}
    expected |= {f"confusion-site-features-{t}" for t in ("siloed", "central", "federated")}
    assert set(names) == expected


def test_alt_text_tells_the_numbers(audit: Audit) -> None:
    alt = {p.name: p.alt for p in plates(audit)}
    assert "central, hospital from features: +0.208 [0.184, 0.232], leak" in alt["excess-training"]
    assert "central 0.512" in alt["curves-site-features"]


def test_names_are_file_stems_whatever_the_targets_are_called() -> None:
    audit = example_audit(attributes=("site",), rename={"central": "../a b", "siloed": "../a/b"})
    names = [p.name for p in plates(audit)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and " " not in name for name in names)


SHAPES = (
    "excess-training", "utility", "curves-site-features", "curves-age_years-features", "confusion-site-features",
    "confusion-site-features-central", "confusion-sex-features", "confusion-age_band-features", "ages-features",
)  # fmt: skip
LONG = {"central": "central-" + "very-" * 8 + "long", "siloed": "hôpital $\\frac{1}{2}$ & Söhne <GmbH>"}


@pytest.mark.parametrize("case", ["plain", "long names", "three sites"])
def test_no_text_leaves_its_figure(audit: Audit, small_audit: Audit, case: str) -> None:
    wide = {"attributes": ("site", "age_years"), "accesses": ("finetune",), "fractions": (0.05, 0.1, 0.25)}
    chosen = {"plain": audit, "long names": example_audit(rename=LONG, **wide), "three sites": small_audit}[case]
    for plate in plates(chosen):
        if case == "plain" and plate.name not in SHAPES:
            continue  # laid out like another one
        figure = plate.draw()
        figure.draw_without_rendering()
        for part in (*figure.axes, *figure.texts):
            box = part.get_tightbbox() if part in figure.axes else part.get_window_extent()
            overhang = max(-box.x0, -box.y0, box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)
            assert overhang < 1.0, (plate.name, part)


def test_nothing_to_draw_gives_no_plates(audit: Audit) -> None:
    empty = replace(audit, metrics=(), excesses=(), verdicts=(), confusions=(), scatters=(), curves=())
    assert plates(empty) == ()


def test_drawing_leaves_matplotlibs_settings(audit: Audit) -> None:
    before = dict(mpl.rcParams)
    data_uri(attack_curves(audit, attribute="sex", access="features"))
    assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported() -> None:
    modules = "sys, flprivacy.reporting.html, flprivacy.reporting.terminal"
    code = f"import {modules}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_svg_is_the_same_on_every_run_and_keeps_every_mark(audit: Audit) -> None:
    def draw() -> bytes:
        return svg(attack_curves(audit, attribute="site", access="features"))

    drawn = draw()
    assert drawn == draw()
    full = ET.fromstring(
        _saved(attack_curves(audit, attribute="site", access="features"), "svg", metadata={"Date": None})
    )
    slim = ET.fromstring(drawn)
    assert [e.tag for e in slim.find(".//{*}g").iter()] == [e.tag for e in full.find(".//{*}g").iter()]
    ids = {e.attrib["id"] for e in slim.iter() if "id" in e.attrib}
    for use in slim.iter("{http://www.w3.org/2000/svg}use"):
        assert use.attrib["{http://www.w3.org/1999/xlink}href"].removeprefix("#") in ids
