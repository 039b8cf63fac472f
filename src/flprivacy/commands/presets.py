"""``flprivacy presets``: configurations to start from."""

import click


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or print one in full, with defaults filled in.

    \b
    Example:
      flprivacy presets demo > my-study.yaml
    """
    import yaml

    from flprivacy.core.parsing import to_mapping
    from flprivacy.presets import load_preset, preset_names

    if name is None:
        click.echo("\n".join(preset_names()))
    else:
        preset = load_preset(name)
        whole = to_mapping(preset.study) | {"dp_check": to_mapping(preset.dp_check)}
        click.echo(yaml.safe_dump(whole, sort_keys=False), nl=False)
