"""What a file that is none of a network's really is: its first bytes and the names in it often tell."""

from pathlib import Path

_READ, _LONGEST = 1 << 16, 64  # bytes
_PYTORCH = "is a PyTorch file, which is code and is not read; export the network with torch.onnx.export"
_SAVED_MODEL = (
    "is an archive of a TensorFlow SavedModel, which is code and is not read; load it with the program that made it, "
    "and save the network as .keras with Keras 3"
)
_KERAS = "is a .keras archive under another name; give it a name that ends in .keras"
_MEMBERS = ((b"data.pkl", _PYTORCH), (b"saved_model.pb", _SAVED_MODEL), (b"model.weights.h5", _KERAS))
_STARTS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch that with 'git lfs pull'"),
    (b"<!doctype html", "is a web page, perhaps one to log in; download the file itself"),
    (b"<html", "is a web page, perhaps one to log in; download the file itself"),
    (b"<?xml", "is an XML document, perhaps a store's refusal; download the file itself"),
    (b"\x89hdf", "is an HDF5 file under another name; give it a name that ends in .h5"),
    *((b"\x80" + bytes([protocol]), _PYTORCH) for protocol in (2, 3, 4, 5)),  # a pickle
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
)
_SIGNED = (
    (4, b"ORTM", "is of onnxruntime's own format, which it optimised; give the .onnx file that it was made from"),
    (8, b'{"', "is a safetensors file, weights without their network; load them, and export it with torch.onnx.export"),
)


def mistaken_for(path: Path) -> str:
    """Return what a file is that was taken for a network, and what to do; empty where it does not tell."""
    with path.open("rb") as stream:
        start = stream.read(_READ)
        stream.seek(max(0, path.stat().st_size - _READ))
        end = stream.read()
    if not start:
        return "is empty; copy or download it again"
    if start.startswith(b"PK\x03\x04"):  # names of members stand before each, and in the directory at the end
        return next((text for name, text in _MEMBERS if name in start or name in end), "")
    if signed := [text for place, mark, text in _SIGNED if start[place:].startswith(mark)]:
        return signed[0]
    return next((text for first, text in _STARTS if start[:_LONGEST].lstrip().lower().startswith(first)), "")
