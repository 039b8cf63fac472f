"""From a stack of slices, and what the table or the tags say of it, to a scan that may be taken."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.found import Candidate, LeftOut, ScanError
from flprivacy.cohorts.importing.persons import is_placeholder, spelling
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.importing.resample import Shape, resample
from flprivacy.cohorts.importing.stack import Stack
from flprivacy.cohorts.importing.table import TableRow
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping

_OF_VOLUMES = ("shape", "window_hu", "spacing_mm", "max_missing", "orientation")  # settings that volumes depend on


@contextmanager
def leaving_out(item: str, left_out: list[LeftOut]) -> Iterator[None]:
    """Note a scan that cannot be taken, by its pseudonym or row, and go on."""
    try:
        yield
    except ScanError as error:
        left_out.append(error.left_out(item))


def asked_shape(config: ImportConfig) -> Shape:
    """Return (depth, height, width) of every volume, or refuse a configuration that does not say it."""
    if config.shape is None:
        raise ConfigError("shape is not given; scans are resampled to one, such as 24,256,256")
    return config.shape


def check_row(row: TableRow, config: ImportConfig) -> None:
    """Refuse, with ScanError, a scan without site, patient or one of the classes that were given."""
    if not (row.site or config.site):
        raise ScanError("no site")
    if config.classes and row.label not in config.classes:
        raise ScanError("no label", "none of the classes that were given")
    if not row.patient_id:
        raise ScanError("no patient id")


def candidate(
    name: str,
    row: TableRow,
    stack: Stack,
    *,
    config: ImportConfig,
    pseudonyms: Pseudonyms,
    source: str,
    state: Sequence[str],
    notes: tuple[str, ...] = (),
) -> Candidate:
    """Return the scan that a stack and its row make.

    ``name`` is what tells scans apart: a series UID, or a path below the source folder. ``state`` is that of its
    files, another one whenever they change.

    Raises:
        ScanError: it has no site, patient or class.
        ConfigError: no shape was given.
    """
    check_row(row, config)
    if is_placeholder(row.patient_id):
        notes = (*notes, "the patient id is one that anonymisers write, so perhaps several people's")
    shape = asked_shape(config)
    settings, site = to_mapping(config), row.site or config.site
    used = digest_json({name: settings[name] for name in _OF_VOLUMES})
    age = None if row.age_years is None else float(min(int(row.age_years), config.oldest_age_years))
    return Candidate(
        scan_id=pseudonyms.scan(name),
        patient_id=pseudonyms.patient(row.patient_id, site if config.patients_per_site else ""),
        site=site,
        label=row.label,
        sex=row.sex,
        age_years=age,  # whole years; finer ages would tell birthdays
        split=row.split,
        person=pseudonyms.patient(spelling(row.patient_id), site if config.patients_per_site else ""),
        work=pseudonyms.work(source, used, *state),
        read=partial(resample, stack, shape=shape, spacing_mm=config.spacing_mm, window_hu=config.window_hu),
        slices=len(stack.places),
        missing=stack.missing,
        notes=notes,
    )
