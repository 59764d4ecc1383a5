"""Reads the state of a checkpoint as data: whatever a file says, nothing of it is run.

torch.distributed.checkpoint keeps a pickle that says where each tensor is, and loads values that are no
tensors as any pickle. Both are read here with lists of what such files hold; all else is refused.
"""

import pickle
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem
from torch.serialization import _get_layout

from sdar.errors import CheckpointError

_PLAN = "torch.distributed.checkpoint.metadata"


def _member(kind: type, name: str) -> Enum:
    """A member of an enumeration, which Python 3.11.0 to 3.11.3 pickle as an attribute of its class."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[name]
    raise pickle.UnpicklingError("it asks for builtins.getattr, which no checkpoint needs")


_CLASSES = {
    ("builtins", "getattr"): _member,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): _get_layout,
    # Only a record of where it was written; a path that may be of another system becomes the text's own.
    ("pathlib", "PosixPath"): lambda *parts: "/".join(map(str, parts)),
    ("pathlib", "WindowsPath"): lambda *parts: "/".join(map(str, parts)),
    ("pathlib._local", "PosixPath"): lambda *parts: "/".join(map(str, parts)),
    ("pathlib._local", "WindowsPath"): lambda *parts: "/".join(map(str, parts)),
}
_NAMES = {
    _PLAN: {
        "BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta",
        "TensorProperties", "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
}  # fmt: skip


class _Plan(pickle.Unpickler):
    """Makes the records of a checkpoint's plan and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name, if it is one that a plan holds. Raises `UnpicklingError`."""
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if name in _NAMES.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint needs")


def read_plan(directory: Path) -> Metadata:
    """The plan of a checkpoint: which tensor is where in which file of `directory`.

    Raises:
        CheckpointError: the file is gone or damaged, asks for anything but records, or names files elsewhere.
    """
    file = directory / ".metadata"
    try:
        with file.open("rb") as opened:
            plan = _Plan(opened).load()
    except Exception as error:  # A forged or damaged pickle may raise anything.
        raise CheckpointError(f"{file} cannot be used: {_line(error)}") from error
    if not isinstance(plan, Metadata) or not isinstance(plan.storage_data, dict):
        raise CheckpointError(f"{file} cannot be used: it holds no plan")
    for part in plan.storage_data.values():
        name = str(getattr(part, "relative_path", ""))
        if Path(name).name != name or (directory / name).resolve().parent != directory.resolve():
            raise CheckpointError(f"{file} cannot be used: it names {name!r}, elsewhere")
    return plan


class SafeReader(dcp.FileSystemReader):
    """The library's reader, with a plan that is read as data."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """See `dcp.FileSystemReader`."""
        plan = read_plan(Path(self.path))
        plan.storage_meta = dcp.metadata.StorageMeta(load_id=self.load_id)
        return plan


class SafePlanner(dcp.DefaultLoadPlanner):
    """The library's planner, whose values that are no tensors are numbers, texts and lists of them."""

    def load_bytes(self, read_item: ReadItem, value: BytesIO) -> None:
        """See `dcp.DefaultLoadPlanner`."""
        plain = BytesIO()
        torch.save(torch.load(value, weights_only=True), plain)
        plain.seek(0)
        super().load_bytes(read_item, plain)


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
