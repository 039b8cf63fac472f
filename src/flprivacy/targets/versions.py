"""Which target is behind a location now, told without bringing it."""

from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.target_source import GRAPH_SUFFIX, TargetSource
from flprivacy.storage.objects import open_objects
from flprivacy.storage.places import open_store
from flprivacy.storage.uris import is_remote, join
from flprivacy.targets.beside import existing_file, local_files_beside, stats_beside, version_of
from flprivacy.targets.given import given_record
from flprivacy.targets.lineage import LINEAGE_FILE


def target_version(source: TargetSource, store: str = "") -> str:
    """Return a digest that is another one after any change of a target, of what is said of it, or of its members.

    Of objects behind a network it is taken from their listing; of what has no version, such as the artifacts of an
    MLflow run, from the content.

    Raises:
        FlprivacyError: as :func:`~flprivacy.targets.given.given_target`.
    """
    found: dict[str, Any] = {"source": str(source)}
    if source.is_mlflow:
        from flprivacy.tracking.models import model_identity  # imports MLflow: only when asked for

        found["target"] = model_identity(source.location) or given_record(source, store).digest
    elif source.is_foreign:
        found["target"] = _of_file(source.location, store)
    else:
        found["target"] = _of_folder(source.location, source, store)
    if source.members:
        found["members"] = _of_object(join(source.members, LINEAGE_FILE))
    if source.own_answers:
        found["own_answers"] = _of_object(source.own_answers)
    return digest_json(found)


def _of_file(location: str, store: str) -> list[str]:
    if not is_remote(location):
        file = existing_file(location)
        return [_of_object(str(one)) for one in (file, *(file.parent / name for name in local_files_beside(file)))]
    objects = open_objects(location)
    stat = objects.stat(location)
    beside = stats_beside(location, stat, objects, open_store(store)) if location.endswith(GRAPH_SUFFIX) else {}
    return [version_of(stat), *(version_of(beside[name]) for name in sorted(beside))]


def _of_folder(location: str, source: TargetSource, store: str) -> list[str]:
    """Return the versions of the record and of the weights that it names."""
    record = given_record(source, store)
    names = (TARGET_FILE, *sorted({model.weights for model in record.models}))
    return [_of_object(join(location, name)) for name in names]


def _of_object(location: str) -> str:
    return version_of(open_objects(location).stat(location))
