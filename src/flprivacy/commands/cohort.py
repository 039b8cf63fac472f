"""``flprivacy cohort``: make, import, look at, check, export and publish cohorts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flprivacy.commands.options import changes as changes_option
from flprivacy.commands.options import preset as preset_option
from flprivacy.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from flprivacy.core.cohort import Cohort

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def cohort() -> None:
    """Create, import, inspect, verify, export and publish cohorts."""


@cohort.command("make")
@_FOLDER
@preset_option
@changes_option
def cohort_make(folder: Path, preset: str, changes: tuple[str, ...]) -> None:
    """Generate a phantom cohort.

    \b
    Example:
      flprivacy cohort make data/phantom --set cohort.scans=400 --set cohort.signature_strength=0
    """
    from flprivacy.cohorts.phantom.generate import phantom_cohort
    from flprivacy.launch.parameters import DEFAULT_PRESET, overrides
    from flprivacy.launch.progress import drawing_here
    from flprivacy.presets import load_preset

    config = load_preset(preset or DEFAULT_PRESET, overrides(changes)).study.cohort
    if config is None:
        raise ConfigError(f"preset {preset!r} has no cohort section; add one or choose another preset")
    check_new(folder)
    with drawing_here():
        created = phantom_cohort(config, folder)
    click.echo(f"{folder}: {len(created.manifest)} scans, digest {created.meta.digest}")


@cohort.command("show")
@_FOLDER
def cohort_show(folder: Path) -> None:
    """Show a cohort's sites, splits and attributes.

    \b
    Example:
      flprivacy cohort show data/phantom
    """
    from flprivacy.cohorts.format import open_cohort
    from flprivacy.launch.progress import console

    console().print(_cohort_table(open_cohort(folder, synthetic=None)))


@cohort.command("verify")
@_FOLDER
def cohort_verify(folder: Path) -> None:
    """Verify a cohort completely: manifest, digest, patient splits and the hash of every volume.

    \b
    Example:
      flprivacy cohort verify data/phantom
    """
    from flprivacy.cohorts.format import verify_cohort
    from flprivacy.launch.progress import drawing_here

    with drawing_here():
        checked = verify_cohort(folder, synthetic=None)
    kind = "scans" if checked.meta.synthetic_from is None else "synthetic scans"
    click.echo(f"{folder}: valid, {len(checked.manifest)} {kind}, digest {checked.meta.digest}")


def _numbers(kind: type[int] | type[float], count: int, names: str) -> Any:
    """Return a click callback that reads numbers separated by commas."""

    def parse(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        if text is None:
            return None
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            raise ConfigError(f"{parameter.opts[0]} is {text!r}; give {names}, separated by commas")
        return values

    return parse


@cohort.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@_FOLDER
@click.option(
    "--from",
    "kind",
    required=True,
    type=click.Choice(["dicom", "nifti", "reference-pickles", "flprivacy"]),
    help="What SOURCE holds; flprivacy is an older name of reference-pickles.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="CSV or Parquet: site, sex, age_years, label, split of each series_uid, study_uid, patient_id or file.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Secret file with the key of the pseudonyms [default: $FLPRIVACY_PSEUDONYM_KEY].",
)
@click.option("--name", help="Name of the cohort [default: the folder's].")
@click.option(
    "--shape", metavar="D,H,W", callback=_numbers(int, 3, "depth, height, width"), help="Size of a volume in voxels."
)
@click.option(
    "--spacing",
    metavar="D,H,W",
    callback=_numbers(float, 3, "depth, height, width in mm"),
    help="Size of a voxel in mm [default: the whole field of view over the shape].",
)
@click.option(
    "--window",
    metavar="LOW,HIGH",
    default="-1000,400",
    show_default=True,
    callback=_numbers(float, 2, "two intensities in HU"),
    help="Intensities in HU that are mapped to 0 and 255.",
)
@click.option("--site", default="", help="Site of all scans.")
@click.option(
    "--site-tag",
    default="",
    metavar="KEYWORD",
    help="DICOM tag that identifies the site; its value is replaced by a pseudonym.",
)
@click.option("--classes", default="", metavar="A,B,...", help="Names of the classes, in order.")
@click.option("--label-tag", default="", metavar="KEYWORD", help="DICOM tag whose value is one of --classes.")
@click.option("--series", type=click.Choice(["most-slices", "all"]), default="most-slices", show_default=True)
@click.option("--min-slices", default=10, show_default=True, help="Skip series with fewer slices.")
@click.option(
    "--max-missing", default=0.0, show_default=True, help="Largest fraction of missing slices to interpolate."
)
@click.option(
    "--orientation",
    type=click.Choice(["sform", "qform"]),
    default="sform",
    show_default=True,
    help="Which of a NIfTI file's two orientations to use where they disagree.",
)
@click.option("--patients-per-site", is_flag=True, help="Patient ids are unique only within a site.")
@click.option(
    "--test-fraction", default=0.2, show_default=True, help="Fraction of patients to hold out, if no table says which."
)
@click.option("--seed", default=0, show_default=True, help="Seed of that draw.")
@click.option("--workers", type=int, help="Processes that read files [default: one per core].")
@click.option("--report", type=click.Path(path_type=Path), help="File to write [default: FOLDER.import.json].")
def cohort_import(
    source: Path,
    folder: Path,
    kind: str,
    table: Path | None,
    key_file: Path | None,
    name: str | None,
    classes: str,
    report: Path | None,
    workers: int | None,
    **settings: Any,
) -> None:
    """Import a cohort from DICOM series, NIfTI files or the reference study's pickles.

    Patient ids become keyed pseudonyms; no other identifier is kept. An interrupted import carries on when repeated.

    \b
    Examples:
      flprivacy cohort import scans/ data/cohort --from dicom --table scans.csv --key-file ~/pseudonym.key
      flprivacy cohort import nifti/ data/cohort --from nifti --table scans.parquet --shape 24,256,256
      flprivacy cohort import data/ data/cohort --from reference-pickles --classes normal,covid,pneumonia
    """
    from flprivacy.cohorts.importing.build import import_cohort
    from flprivacy.cohorts.importing.config import ImportConfig
    from flprivacy.cohorts.importing.pseudonyms import Pseudonyms, read_key
    from flprivacy.cohorts.importing.report import import_tables
    from flprivacy.launch.progress import console, drawing_here

    check_new(folder)
    files = kind in ("reference-pickles", "flprivacy")
    shape = settings.pop("shape") or (None if files else (24, 256, 256))
    config = ImportConfig(
        name=name or folder.resolve().name,
        classes=tuple(part.strip() for part in classes.split(",") if part.strip()),
        shape=shape,
        spacing_mm=settings.pop("spacing"),
        window_hu=settings.pop("window"),
        **settings,
    )
    pseudonyms = None if files else Pseudonyms(read_key(key_file))
    with drawing_here():
        created, summary = import_cohort(
            kind, source, folder, config=config, pseudonyms=pseudonyms, table=table, report=report, workers=workers
        )
    for part in import_tables(summary):
        console().print(part)
    page = (report or folder.with_name(f"{folder.name}.import.json")).with_suffix(".html")
    click.echo(f"{page}: thumbnails to look at")
    click.echo(f"{folder}: {len(created.manifest)} scans, digest {created.meta.digest}")


@cohort.command("export")
@_FOLDER
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--row", "rows", multiple=True, type=int, help="Row number of a scan; repeatable [default: all].")
def cohort_export(folder: Path, out: Path, rows: tuple[int, ...]) -> None:
    """Write a cohort's scans as NIfTI files with a table, to view them.

    \b
    Example:
      flprivacy cohort export data/cohort nifti --row 0 --row 17
    """
    import numpy as np

    from flprivacy.cohorts.export import export_nifti
    from flprivacy.cohorts.format import open_cohort
    from flprivacy.launch.progress import drawing_here

    with drawing_here():
        count = export_nifti(open_cohort(folder, synthetic=None), out, rows=np.array(rows) if rows else None)
    click.echo(f"{out}: {count} scans as NIfTI, and scans.csv")


@cohort.command("push")
@_FOLDER
@click.argument("uri")
@click.option(
    "--synthetic",
    is_flag=True,
    help="FOLDER holds synthetic scans, which are made from patients' scans and may resemble them.",
)
def cohort_push(folder: Path, uri: str, synthetic: bool) -> None:
    """Publish a cohort where others can pull it: s3://, gs:// or a folder.

    Every volume is hashed first. A cohort is published completely or not at all, and never changes afterwards; an
    interrupted push carries on when it is repeated.

    \b
    Example:
      flprivacy cohort push data/cohort s3://bucket/cohort
    """
    from flprivacy.cohorts.remote import push_cohort
    from flprivacy.launch.progress import drawing_here

    with drawing_here():
        sent = push_cohort(folder=folder, uri=uri, synthetic=synthetic)
    click.echo(f"{uri}: published, {sent} bytes sent")


def check_new(folder: Path) -> None:
    """Raise ConfigError if the folder exists."""
    if folder.exists():
        raise ConfigError(f"{folder}: already exists; give a new folder, or remove this one first")


def _cohort_table(found: "Cohort") -> "Table":
    """Return a table of a cohort's sites: scans by split, classes, sexes and ages."""
    from rich.table import Table

    meta, manifest = found.meta, found.manifest
    kind = "scans" if meta.synthetic_from is None else "SYNTHETIC scans"
    title = (
        f"{meta.name}: {len(manifest)} {kind} of {' x '.join(map(str, meta.shape))} voxels, digest {meta.digest[:12]}"
    )
    if (origin := meta.synthetic_from) is not None:
        title += f", made by generator {origin.generator[:12]}"
        title += f" of cohort {origin.cohort[:12]}" if origin.cohort else ""
    table = Table("site", title=title, title_justify="left")
    for column in ("train", "test", "patients", *meta.class_names, "female", "male", "mean age"):
        table.add_column(column, justify="right")
    for site_id, name in enumerate(meta.site_names):
        rows = manifest[manifest["site_id"] == site_id]
        counts = [(rows["split"] == "train").sum(), (rows["split"] == "test").sum(), rows["patient_id"].nunique()]
        counts += [(rows["label"] == label).sum() for label in range(len(meta.class_names))]
        counts += [(rows["sex"] == sex).sum() for sex in ("F", "M")]
        age = rows["age_years"].mean()
        table.add_row(name, *map(str, counts), "unknown" if age != age else f"{age:.0f}")
    return table
