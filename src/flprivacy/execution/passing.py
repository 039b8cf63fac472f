"""What steps pass on to each other on a cluster: references into the run's store, and nothing of a patient.

Kubeflow Pipelines copies every artifact of a step into a bucket of its own, where all who may open its pages find it.
So there a step's output folder becomes ``reference.json``, which says where in the store its files are, beside the few
files that may be seen. The step that reads it is given the whole folder again: brought from the store to this machine,
once if its steps share a cache, and compared with its digest.

A step says in its signature what may be seen: an artifact of type :data:`Open` is passed on as it is, and is all that
its reader needs. Of any other only the files named in ``OPEN_FILES`` are.
"""

import functools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, GENERATOR_AUDIT_FILE
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError, StorageError, check
from flprivacy.core.parsing import JsonRecord
from flprivacy.core.publish import link_or_copy, publish_folder
from flprivacy.execution.isolation import FAILURE_FILE, GENERATOR_FAILURE_FILE
from flprivacy.storage.artifact_store import Store, delivered_from
from flprivacy.storage.inventory import content_digest, take_inventory
from flprivacy.storage.places import STORE_VARIABLE, is_shared, open_store, store_location

R = TypeVar("R")
LOGGER = logging.getLogger(__name__)
REFERENCE_FILE = "reference.json"
# Sums over many patients, why a target failed, and where a cohort is.
OPEN_FILES = frozenset(
    {AUDIT_FILE, CHANGE_FILE, GENERATOR_AUDIT_FILE, FAILURE_FILE, GENERATOR_FAILURE_FILE, "cohort.json", "place.json"}
)
_OPEN, _SHARED = "open", "shared"
Open = Annotated[Path, _OPEN]
SharedStore = Annotated[str, _SHARED]  # a parameter that on a cluster must name a store which all steps see
_KIND = "passed"  # of what lies in the store only because a step passed it on


@dataclass(frozen=True, kw_only=True)
class Part:
    """A finished artifact of the store."""

    kind: str
    key: str
    digest: str  # of its files' names and contents

    def __post_init__(self) -> None:
        check(self.kind.isidentifier(), "kind", self.kind, "is none of the store's")
        check(len(self.key) == 64 and self.key.isalnum(), "key", self.key, "is no digest")


@dataclass(frozen=True, kw_only=True)
class Reference(JsonRecord):
    """Where the files of a folder are. Of two parts that have a file of one name, the first counts."""

    _kind, _step, _error = "a reference", "previous", StorageError

    store: str
    parts: tuple[Part, ...]


def on_backend_without_store(step: Callable[..., Any], store: str) -> ConfigError | None:
    """Return why a step must not begin on a cluster: it reads patients' data, and no store holds what it passes on."""
    declared = get_type_hints(step, include_extras=True).get("store")
    if _SHARED not in getattr(declared, "__metadata__", ()) or is_shared(store):
        return None
    return ConfigError(
        f"store is {store_location(store)!r}: on a cluster, what steps tell each other about patients must not go "
        f"through Kubeflow's artifact store; give an s3:// or gs:// URI as parameter 'store', or as {STORE_VARIABLE} "
        "in the ConfigMap flprivacy-settings"
    )


def closed_names(step: Callable[..., Any]) -> set[str]:
    """Return the names of what a step takes and makes that is not declared Open."""
    hints = get_type_hints(step, include_extras=True)
    return {name for name, hint in hints.items() if _OPEN not in getattr(hint, "__metadata__", ())}


def kept_in(folder: Path) -> str:
    """Return the location of the store that holds an artifact's files; empty of one that was passed on as it is."""
    if not (folder / REFERENCE_FILE).is_file():
        return ""
    try:
        return Reference.read(folder / REFERENCE_FILE).store
    except StorageError as error:
        LOGGER.warning("%s does not say where its files are kept: %s", folder, error)
        return ""


@dataclass(kw_only=True)
class Passing:
    """Passes the artifacts of one step on.

    Attributes:
        outputs: path of each artifact that the step writes, by its name.
        store: location that the step was given; empty: that of its inputs, or the environment's.
        facts: what is told about outputs that were passed on by reference, by name.
        finished: names of the outputs that the step need not write again.
    """

    outputs: Mapping[str, Path]
    store: str = ""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    _inside: dict[str, Path] = field(default_factory=dict)  # name of an output -> folder that the step writes
    _references: dict[Path, Reference] = field(default_factory=dict)  # folder on this machine -> what it was made from

    def around(self, step: Callable[..., R]) -> Callable[..., R]:
        """Return the step, called with folders on this machine in place of artifacts."""
        closed = closed_names(step)

        @functools.wraps(step)
        def step_by_reference(**arguments: Any) -> R:
            with tempfile.TemporaryDirectory(prefix="flprivacy-") as name:
                scratch = Path(name)
                (scratch / "out").mkdir()
                inputs = {key: value for key, value in arguments.items() if key in closed - set(self.outputs)}
                brought = {key: self._brought(value, scratch / "in" / key) for key, value in inputs.items()}
                self.store = self.store or next((one.store for one in self._references.values()), "")
                places = {key: scratch / "out" / key for key in self.outputs} if is_shared(self.store) else self.outputs
                self._inside = {key: places[key] for key in self.outputs if key in closed}
                with self._under_way():
                    result = step(**arguments | brought | self._inside)
                for folder in self._inside.values():
                    self.finish(folder)
                return result

        return step_by_reference

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        _under_way.append(self)
        try:
            yield
        finally:
            _under_way.remove(self)

    def finish(self, output: Path) -> None:
        """Pass on what the step wrote into one of its folders, unless that was done."""
        for name, folder in self._inside.items():
            if folder == output and name not in self.finished:
                if folder != self.outputs[name]:
                    self._pass_on(name, folder, open_store(self.store), store_location(self.store))
                self.finished.add(name)

    def _brought(self, value: Any, folder: Path) -> Any:
        """Return an argument with folders on this machine in place of references."""
        if isinstance(value, tuple):
            return tuple(self._brought(one, folder / str(number)) for number, one in enumerate(value))
        if not isinstance(value, Path) or not (value / REFERENCE_FILE).is_file():
            return value
        reference = Reference.read(value / REFERENCE_FILE)
        shutil.copytree(value, folder, ignore=shutil.ignore_patterns(REFERENCE_FILE))
        for part in reference.parts:
            entry = _entry(reference.store, part)
            for name in _files(entry):
                if not (folder / name).exists():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(entry / name, folder / name)
        self._references[folder] = reference
        return folder

    def _pass_on(self, name: str, folder: Path, store: Store, location: str) -> None:
        """Put what may be seen of an output where the backend takes it from, and the rest into the store."""
        if not folder.exists():
            return
        if folder.is_file():
            raise ValueError(f"output {name!r} is a file: only folders are passed on by reference; declare it Open")
        names = _files(folder)
        hidden = [one for one in names if one not in OPEN_FILES]
        parts = self._origin(folder, store) if hidden else ()
        if not hidden or not set(names).issuperset(file for _, entry in parts for file in _files(entry)):
            parts = ()  # the entry holds what the step left out
        left = [one for one in hidden if not any(_same(folder / one, entry / one) for _, entry in parts)]
        if left:
            rest = folder.parent.with_name("rest") / name
            for one in left:
                (rest / one).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(folder / one, rest / one)
            kept = store.keep(_KIND, rest)
            parts = ((_part(kept), kept), *parts)
        with publish_folder(self.outputs[name]) as partial:
            for one in OPEN_FILES & set(names):
                shutil.copy2(folder / one, partial / one)
            if parts or not names:  # an object store has no empty folders
                Reference(store=location, parts=tuple(part for part, _ in parts)).write(partial / REFERENCE_FILE)
        if parts:
            size = sum((folder / one).stat().st_size for one in hidden)
            self.facts[name] = {"kept_in": location, "files": len(hidden), "bytes": size}

    def _origin(self, folder: Path, store: Store) -> tuple[tuple[Part, Path], ...]:
        """Return the finished artifacts that an output was made from, with their entries."""
        origin = delivered_from(folder)
        if origin in self._references:
            reference = self._references[origin]
            return tuple((part, _entry(reference.store, part)) for part in reference.parts)
        if origin is not None and origin.parent.parent == store.root:
            return ((_part(origin), origin),)
        return ()


_under_way: list[Passing] = []  # around the step under way


def finished(output: Path) -> None:
    """Pass on an output of the step under way before the step goes on: whatever comes, it will not be lost.

    On one machine it is where it must be as soon as it is written.
    """
    for passing in _under_way:
        passing.finish(output)


def _part(entry: Path) -> Part:
    return Part(kind=entry.parent.name, key=entry.name, digest=content_digest(take_inventory(entry)))


def _entry(location: str, part: Part) -> Path:
    """Return a finished artifact's folder on this machine.

    Raises:
        StorageError: it is no longer there, or another one.
    """
    entry, where = open_store(location).bring(part.kind, part.key), f"{location}: {part.kind}/{part.key}"
    if entry is None:
        raise StorageError(
            f"{where} is gone, though Kubeflow's cache still has the step that made it; raise the parameter "
            "'try_again', and let the store keep artifacts longer"
        )
    if content_digest(take_inventory(entry)) != part.digest:
        raise StorageError(f"{where} is not what the step before made; raise the parameter 'try_again'")
    return entry


def _files(folder: Path) -> Sequence[str]:
    """Return the names of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and (one.samefile(other) or digest_file(one) == digest_file(other))
