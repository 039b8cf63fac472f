"""The search for planted identifiers finds them wherever they are packed."""

import base64
import gzip
import hashlib
import io
import sqlite3
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.whole_runs.planted_scans import PLANTED, PSEUDONYM, SECRET, files_below, patient, search

_TEXT = f"{SECRET}-id-1"


def _png(text: str) -> bytes:
    info, stream = PngInfo(), io.BytesIO()
    info.add_text("Comment", text, zip=True)
    Image.new("L", (2, 2)).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    pd.DataFrame({"a": [_TEXT] * 3}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "b.html").write_bytes(b'<img src="data:image/png;base64,' + base64.b64encode(_png(_TEXT)) + b'">')
    (tmp_path / "c.gz").write_bytes(gzip.compress(_TEXT.encode()))
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", _TEXT * 10)
    with sqlite3.connect(tmp_path / "e.db") as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (?)", ("y" * 4000 + _TEXT,))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", data=np.frombuffer(_TEXT.encode() * 9, np.uint8), compression="gzip")
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file.attrs["x"] = _TEXT
    (tmp_path / f"{SECRET}.txt").write_bytes(b"")
    (tmp_path / f"{SECRET}-folder").mkdir()
    (tmp_path / "h").write_bytes(b'{"date": "1961-02-03"}')
    (tmp_path / "i").write_text(hashlib.sha256(patient(1).encode()).hexdigest()[:32].upper())
    (tmp_path / "good").write_bytes(b"0.19610203 a19610203 " + hashlib.sha256(b"x").hexdigest().encode())
    found = {Path(str(where)).name for where in search(files_below(tmp_path), PLANTED)}
    assert found == {path.name for path in tmp_path.iterdir()} - {"good"}
    (tmp_path / "p").write_bytes(b"p-" + b"0123456789abcdef" * 2)
    assert tmp_path / "p" in search(files_below(tmp_path), PSEUDONYM)
