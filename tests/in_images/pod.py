"""A container as a pod of ours runs it: numeric user, no capabilities, read-only root, empty folders of its own."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from images.docker import client

USER = 10001
LOCKED = ("--read-only", "--user", f"{USER}:{USER}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One container and what it gets.

    Attributes:
        image: its name.
        command: replaces the image's own entry point and command.
        environment: variables, beside the image's own.
        folders: where it can write: path in the container -> folder of this machine, which it then owns.
        files: what it can read: path in the container -> folder of this machine.
        memory_folders: paths of empty folders in memory.
    """

    image: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    memory_folders: Sequence[str] = ()

    def words(self, name: str) -> list[str]:
        """Return the command line that runs it, without the values of its variables."""
        words = [client(), "run", "--rm", "--name", name, "--network", "host", *LOCKED]
        for variable in self.environment:
            words += ["--env", variable]  # the value comes from docker's own environment: no secret on a command line
        for inside, outside in self.folders.items():
            words += ["--volume", f"{outside}:{inside}"]
        for inside, outside in self.files.items():
            words += ["--volume", f"{outside}:{inside}:ro"]
        for inside in self.memory_folders:
            words += ["--tmpfs", f"{inside}:mode=1777"]
        words += ["--entrypoint", self.command[0], self.image, *self.command[1:]]
        return words

    def start(self, name: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start it, its output going to ``log``."""
        for folder in self.folders.values():
            own(folder)
        with log.open("wb") as output:
            return subprocess.Popen(
                self.words(name), env=os.environ | dict(self.environment), stdout=output, stderr=output
            )

    def run(self, name: str, log: Path) -> tuple[int, float]:
        """Run it to its end; return its exit code and the seconds that it took."""
        started = time.monotonic()
        process = self.start(name, log)
        return process.wait(), time.monotonic() - started


def own(folder: Path) -> None:
    """Make a folder and all in it the user's of the container."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, USER, USER)
