"""``flprivacy target``: look at the models under investigation, make target folders of foreign files, publish them."""

from pathlib import Path
from typing import Any

import click

_FACTS = (
    ("--architecture", str, "i3d, cnn3d, slices2d, cnn3d_small, or custom; default: what the file tells."),
    ("--shape", str, "DEPTHxHEIGHTxWIDTH of its scans; default: what the file tells."),
    ("--classes", int, "Disease classes; default: what the file tells."),
    ("--protocol", str, "Preprocessing it was trained with: standard (the default) or flprivacy-2023."),
    ("--feature-layer", str, "Of a network of your own: the layer whose output is its features."),
    ("--trunk-layer", str, "Layer of the file's network that holds the trunk; default: found by names."),
    ("--role", str, "target (the default), or baseline for weights that no patient of the cohort went into."),
    ("--topology", str, "How it was trained: siloed, central, federated or pretrained."),
    ("--epsilon", float, "Privacy budget that its owner states."),
    ("--n-train", int, "Scans it was trained on."),
)


@click.group()
def target() -> None:
    """Look at targets, the models under investigation, import foreign ones, and publish them."""


@target.command("show")
@click.argument("location")
def target_show(location: str) -> None:
    """Show a target folder's record, or what a foreign file holds and how it fits. Nothing in it is run.

    LOCATION is a path, an s3:// or gs:// URI, an MLflow URI or a YAML file, with ",field=value" as for import.

    \b
    Examples:
      flprivacy target show models/central
      flprivacy target show s3://models/hospital.h5,shape=24x256x256
      flprivacy target show models:/chest-ct@production
    """
    import json

    from flprivacy.launch.targets import target_source
    from flprivacy.targets.show import show_target

    source = target_source(location)
    _use_mlflow(source)
    click.echo(json.dumps(show_target(source), indent=2, sort_keys=True))


def _facts(command: Any) -> Any:
    for name, kind, text in reversed(_FACTS):
        command = click.option(name, type=kind, help=text)(command)
    return command


@target.command("import")
@click.argument("location")
@click.argument("folder", type=click.Path(path_type=Path))
@_facts
@click.option("--allow-partial", is_flag=True, help="Take a file that lacks tensors of the trunk; every table says so.")
@click.option("--weights-only", is_flag=True, help="Take the tensors of a network with layers of code; none is run.")
@click.option("--store", default="", help="Folder or URI of artifacts and checkpoints [default: .flprivacy/store].")
def target_import(location: str, folder: Path, store: str, **facts: Any) -> None:
    """Make a target folder of a .keras, .weights.h5 or legacy .h5 file, or of a model in MLflow.

    \b
    Examples:
      flprivacy target import s3://models/hospital.h5 targets/hospital
      flprivacy target import old.h5 targets/old --architecture i3d --shape 24x256x256 --protocol flprivacy-2023
      flprivacy target import mine.keras targets/mine --feature-layer embedding
      flprivacy target import models:/chest-ct@production targets/production
    """
    from flprivacy.core.errors import ConfigError
    from flprivacy.core.target_source import source_of
    from flprivacy.launch.targets import target_source
    from flprivacy.steps.pull_target import pull_target
    from flprivacy.targets.folder import read_target
    from flprivacy.targets.given import describe_match

    if folder.exists():
        raise ConfigError(f"{folder}: exists already; give a new folder, or remove this one first")
    source = target_source(location)
    _use_mlflow(source)
    given = {name: value for name, value in facts.items() if value not in (None, False)}
    source = source_of(source.location, source.facts() | given, location)
    pull_target(targets={folder.name: str(source)}, target_name=folder.name, target=folder, store=store)
    record = read_target(folder)
    click.echo(f"{folder}: {describe_match(record)}, digest {record.digest}")


@target.command("push")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("uri")
@click.option(
    "--with-members",
    "members_uri",
    default="",
    metavar="PRIVATE_URI",
    help="Send what auditors keep (members, seeds, losses, canaries) to a private location of its own.",
)
def target_push(folder: Path, uri: str, members_uri: str) -> None:
    """Publish a target folder where others can pull it: s3://, gs:// or a folder. It is whole or not there.

    Weights and target.json are all that is published. Who the members were stays in the folder.

    \b
    Examples:
      flprivacy target push targets/hospital s3://models/hospital
      flprivacy target push targets/hospital s3://models/hospital --with-members s3://auditors/hospital
    """
    from flprivacy.commands.console import console
    from flprivacy.launch.direct import drawing_here
    from flprivacy.targets.push import push_target

    with drawing_here(console()):
        pushed = push_target(folder=folder, uri=uri, members_uri=members_uri)
    click.echo(f"{uri}: published, {pushed.bytes_sent} bytes sent")
    if pushed.kept:
        click.echo(f"{folder}: {', '.join(pushed.kept)} and all seeds stay here and are not published")


def _use_mlflow(source: Any) -> None:
    """Name the MLflow server that local runs use, if one is needed and none is named."""
    from flprivacy.launch.local import default_tracking

    if source.is_mlflow:
        default_tracking()
