"""``flprivacy target``: inspect the models under investigation, import foreign files, and publish targets."""

from pathlib import Path
from typing import Any

import click

from flprivacy.commands.cohort import check_new
from flprivacy.commands.options import store as store_option
from flprivacy.core.target import TARGET_FILE

_FACTS = (
    ("--architecture", str, "i3d, cnn3d, slices2d, cnn3d_small, or custom [default: read from the file]."),
    ("--shape", str, "DEPTHxHEIGHTxWIDTH of its scans [default: read from the file]."),
    ("--classes", int, "Number of disease classes [default: read from the file]."),
    ("--protocol", str, "Preprocessing it was trained with: standard or flprivacy-2023 [default: standard]."),
    (
        "--feature-layer",
        str,
        "For a network of your own: the layer (of an ONNX file, the tensor) that is its features.",
    ),
    ("--output", str, "For a network of your own with several outputs: the one to audit."),
    ("--answers", str, "What that output is: probabilities, logits, labels, probability, logit or none."),
    ("--axes", str, "For a network of your own: order of depth, height and width, such as hwd; of an ONNX file, cdhw."),
    ("--input-range", str, "For a network of your own: values it was trained on: 0..1, 0..255, hu or LOW..HIGH."),
    ("--trunk-layer", str, "Layer of the file's network that holds the trunk [default: found by weight names]."),
    ("--role", str, "target, or baseline for weights not trained on the cohort's patients [default: target]."),
    ("--topology", str, "How it was trained: siloed, central, federated or pretrained."),
    ("--epsilon", float, "Privacy budget stated by its owner."),
    ("--n-train", int, "Scans it was trained on."),
)


@click.group()
def target() -> None:
    """Inspect targets (the models under investigation), import foreign ones, and publish them."""


@target.command("show")
@click.argument("location")
def target_show(location: str) -> None:
    """Show a target folder's record, or what a foreign file holds and how it fits. No code in it is run.

    LOCATION is a path, an s3:// or gs:// URI, an MLflow URI or a YAML file, with ",field=value" as for import.

    \b
    Examples:
      flprivacy target show models/central
      flprivacy target show s3://models/hospital.h5,shape=24x256x256
      flprivacy target show models:/chest-ct@production
    """
    import json

    from flprivacy.launch.parameters import target_source
    from flprivacy.targets.show import show_target

    source = target_source(location)
    _use_mlflow(source)
    click.echo(json.dumps(show_target(source), indent=2, sort_keys=True))


@target.command("list")
@click.argument("place", default="")
def target_list(place: str) -> None:
    """List the target folders below a path or URI, by default those that studies trained here: what and where they are.

    \b
    Examples:
      flprivacy target list
      flprivacy target list s3://models/published
    """
    from rich.table import Table

    from flprivacy.launch.progress import console
    from flprivacy.storage.places import open_store
    from flprivacy.storage.uris import join
    from flprivacy.targets.listing import find_target_folders

    store = open_store()
    place = place or (join(store.remote, "target") if store.remote else str(store.root / "target"))
    found = find_target_folders(place)
    if not found:
        click.echo(f"{place}: no target here; 'flprivacy run study' trains some")
        return
    table = Table(title=f"targets below {place}", title_justify="left")
    for column in ("name", "topology", "architecture", "epsilon", "digest", "folder"):
        table.add_column(column, overflow="fold")
    for one in found:
        record = one.record
        epsilon = "" if record.epsilon is None else f"{record.epsilon:.3g}"
        below = one.location.removeprefix(place.rstrip("/") + "/")
        table.add_row(record.name, record.topology or "", record.architecture or "", epsilon, record.digest[:12], below)
    console().print(table)


def _facts(command: Any) -> Any:
    for name, kind, text in reversed(_FACTS):
        command = click.option(name, type=kind, help=text)(command)
    return command


@target.command("import")
@click.argument("location")
@click.argument("folder", type=click.Path(path_type=Path))
@_facts
@click.option(
    "--input-checked", is_flag=True, help="Of arrays: their owner compared some with what the network answers in use."
)
@click.option("--allow-partial", is_flag=True, help="Accept a file that lacks trunk tensors; every table says so.")
@click.option(
    "--weights-only", is_flag=True, help="Take only the tensors of a network with Lambda layers; no code is run."
)
@store_option
def target_import(location: str, folder: Path, store: str, **facts: Any) -> None:
    """Create a target folder from a .keras, .weights.h5, legacy .h5 or .onnx file, from a model in MLflow, or from its
    answers as arrays (.npz, .parquet).

    \b
    Examples:
      flprivacy target import s3://models/hospital.h5 targets/hospital
      flprivacy target import old.h5 targets/old --architecture i3d --shape 24x256x256 --protocol flprivacy-2023
      flprivacy target import mine.keras targets/mine --feature-layer embedding
      flprivacy target import monai.onnx targets/monai --input-range 0..1 --axes cdhw
      flprivacy target import answers.npz targets/theirs
      flprivacy target import models:/chest-ct@production targets/production
    """
    from flprivacy.core.target_source import source_of
    from flprivacy.launch.parameters import target_source
    from flprivacy.targets.given import bring_target, describe_match, remark

    check_new(folder)
    source = target_source(location)
    _use_mlflow(source)
    given = {name: value for name, value in facts.items() if value not in (None, False)}
    source = source_of(source.location, source.facts() | given, location)
    record = bring_target(source, store, name=folder.name, out=folder)
    click.echo(f"{folder}: {describe_match(record)}, digest {record.digest}")
    if remark(record):
        click.echo(f"note: {remark(record)}", err=True)


@target.command("push")
@click.argument("folder")
@click.argument("uri")
@click.option(
    "--with-members",
    "members_uri",
    default="",
    metavar="PRIVATE_URI",
    help="Send what auditors keep (members, seeds, losses, canaries) to a separate, private location.",
)
def target_push(folder: str, uri: str, members_uri: str) -> None:
    """Publish a target folder, completely or not at all, where others can pull it: s3://, gs:// or a folder.

    FOLDER is on this machine, or one that 'target list' shows in the store of a cluster. Only weights and target.json
    are published. Who the members were stays in the folder.

    \b
    Examples:
      flprivacy target push targets/hospital s3://models/hospital
      flprivacy target push s3://data/flprivacy/target/fc7461... s3://models/central
      flprivacy target push targets/hospital s3://models/hospital --with-members s3://auditors/hospital
    """
    from flprivacy.launch.progress import drawing_here
    from flprivacy.targets.push import folder_of_target, push_target

    with drawing_here():
        pushed = push_target(folder=folder_of_target(folder), uri=uri, members_uri=members_uri)
    click.echo(f"{uri}: published, {pushed.bytes_sent} bytes sent")
    if pushed.kept:
        click.echo(f"{folder}: {', '.join(pushed.kept)} and all seeds stay here; they are not published")
    if pushed.withheld:
        click.echo(
            f"{folder}: written by an older version, whose {TARGET_FILE} would have given away "
            f"{', '.join(pushed.withheld)}; that was left out. 'flprivacy target convert {folder} NEW' writes the "
            "folder as this version would have"
        )


@target.command("push-private")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("uri")
def target_push_private(folder: Path, uri: str) -> None:
    """Send only what auditors keep of a target (members, seeds, counts, losses, canaries) to a location.

    Let only auditors read that location, and never use the location of the target itself.

    \b
    Example:
      flprivacy target push-private targets/hospital s3://auditors/hospital
    """
    from flprivacy.launch.progress import drawing_here
    from flprivacy.targets.push import push_private_part

    with drawing_here():
        sent = push_private_part(folder=folder, uri=uri)
    click.echo(f"{uri}: private part sent, {sent} bytes")


@target.command("convert")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
def target_convert(folder: Path, new: Path) -> None:
    """Rewrite a target folder of an older version as this version would, with the private part apart.

    \b
    Example:
      flprivacy target convert targets/old targets/new
    """
    from flprivacy.targets.push import convert_target

    check_new(new)
    told = convert_target(folder=folder, out=new)
    click.echo(f"{new}: written; {', '.join(told) or 'nothing'} left out of {TARGET_FILE}")


def _use_mlflow(source: Any) -> None:
    """Use the MLflow server of local runs, if one is needed and none is named."""
    from flprivacy.launch.local import default_tracking

    if source.is_mlflow:
        default_tracking()
