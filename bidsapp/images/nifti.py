"""NIfTI and MGZ files <-> Volume: the only place that knows an image file's bytes."""

import gzip
import math
import zlib
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from bidsapp.errors import DataError, MissingInputError, OutputError, ReadWriteError, ShapeError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

# nibabel's headers, whose methods carry no types.
NIFTI1: Any = Nifti1Header
NIFTI2: Any = Nifti2Header
MGH: Any = MGHHeader

MAX_BYTES = 4 * 1024**3
MAX_HEADER_BYTES = 16 * 1024**2
MAX_TRAILING_BYTES = 1024**2
MAX_DEFLATE_RATIO = 1032  # no deflate stream can expand further: zlib, technical details
GZIP_LEVEL = 4
WRITABLE_KINDS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"}


class _Layout(NamedTuple):
    """What a header promises about the bytes behind it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float | None
    intercept: float
    affine: np.ndarray


def read_volume(path: Path, *, allow_nan: bool = False) -> Volume:
    """Read an image of one frame in its native space, as it lies on disk.

    Nothing is reoriented. The sform places the voxels if its code is set, else the qform.
    No more is decompressed than the header promises.

    Parameters
    ----------
    path
        A ``.nii``, ``.nii.gz``, ``.mgh`` or ``.mgz`` file, recognised by its content.
    allow_nan
        Accept NaN, for maps in which it marks missing voxels; infinities are refused all the same.

    Returns
    -------
    volume
        Integers keep their type unless the header scales them; everything else becomes float32. C order.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If the file is no image, broken or truncated, has several frames, no usable position, colours or
        complex numbers, values that are not finite, or zeros only.
    ReadWriteError
        If the system fails to read the file.

    Examples
    --------
    >>> read_volume(Path("nowhere.nii.gz"))
    Traceback (most recent call last):
        ...
    bidsapp.errors.MissingInputError: no image file at nowhere.nii.gz: check the path
    """
    volume = _read(path)
    data = volume.data
    if data.dtype.kind == "f":
        n_bad = int(np.isinf(data).sum() if allow_nan else data.size - np.isfinite(data).sum())
        if n_bad:
            raise DataError(f"{path} holds {n_bad} values that are not finite (NaN or inf): set them to zero")
    if not np.any(np.nan_to_num(data) if allow_nan else data):
        raise DataError(f"{path} holds nothing but zeros: the export or the conversion failed, make it again")
    return volume


def read_labels(path: Path) -> Volume:
    """Read a label map or a mask: whole numbers from zero up, whatever number type the file uses.

    A map of zeros only is accepted: whether "no lesion" makes sense is the caller's matter.

    Parameters
    ----------
    path
        As for `read_volume`.

    Returns
    -------
    volume
        Integers; a file of floating-point numbers comes back as int32.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        As `read_volume`, and if a value is negative or not a whole number.
    """
    volume = _read(path)
    data = volume.data
    if data.dtype.kind == "f":
        whole = np.isfinite(data) & (np.abs(data) < 2**24)
        whole[whole] = data[whole] == np.rint(data[whole])
        if not whole.all():
            raise DataError(
                f"labels must be whole numbers, got {data[~whole].flat[0]} in {path}: "
                "this is an intensity or probability image, or labels resampled without nearest neighbour"
            )
        data = data.astype(np.int32)
    if data.min() < 0:
        raise DataError(f"labels must not be negative, got {data.min()} in {path}: renumber them from zero")
    return Volume(data, volume.space)


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI-1: the same volume gives the same bytes.

    Parameters
    ----------
    volume
        Its number type is kept; booleans become uint8. sform and qform are written with code 1.
    path
        Ends in ``.nii`` or ``.nii.gz``; an existing file is replaced.

    Raises
    ------
    OutputError
        If the name does not end so, the folder does not exist, or NIfTI cannot hold the number type or size.
    ReadWriteError
        If the system fails to write (disk full, no permission).
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"images are written as .nii or .nii.gz, got {path.name}: change the name")
    if not path.parent.is_dir():
        raise OutputError(f"the folder of {path} does not exist: create it first")
    data = volume.data.astype(np.uint8) if volume.data.dtype == np.bool_ else volume.data
    if data.dtype.name not in WRITABLE_KINDS:
        raise OutputError(f"NIfTI cannot hold {data.dtype.name} values ({path}): convert to float32 or int32")
    header: Any = NIFTI1(endianness="<")
    try:
        header.set_data_shape(data.shape)
    except HeaderDataError as error:
        raise OutputError(f"NIfTI-1 cannot hold the sizes {data.shape} ({path}): crop the volume") from error
    header.set_data_dtype(data.dtype)
    header.set_sform(volume.space.affine, code=1)
    header.set_qform(volume.space.affine, code=1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    content = (header.binaryblock, bytes(4), data.astype(data.dtype.newbyteorder("<")).tobytes(order="F"))
    try:
        with path.open("wb") as file:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                    packed.writelines(content)
            else:
                file.writelines(content)
    except OSError as error:
        raise ReadWriteError(f"could not write {path} ({error.strerror}): check space and rights") from error


def _read(path: Path) -> Volume:
    """Read header and voxels, with every check that does not look at the values."""
    if not path.is_file():
        if path.is_symlink():
            raise MissingInputError(f"{path} is a link to nothing: fetch its content first (datalad get)")
        raise MissingInputError(f"no image file at {path}: check the path")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            layout, raw = _read_bytes(stream, path, packed=packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged ({error}): copy or convert it again") from error
    except OSError as error:
        raise ReadWriteError(f"could not read {path} ({error.strerror}): check disk and rights") from error
    values = np.frombuffer(raw, layout.dtype).reshape(layout.shape[:3], order="F")
    try:
        space = Space((layout.shape[0], layout.shape[1], layout.shape[2]), layout.affine)
    except ShapeError as error:
        raise DataError(
            f"the voxel-to-world matrix of {path} is singular or not finite: nobody can tell where it lies, "
            "convert the image again from DICOM"
        ) from error
    return Volume(_scaled(values, layout), space)


def _read_bytes(
    stream: gzip.GzipFile | BufferedReader, path: Path, *, packed: bool
) -> tuple[_Layout, memoryview]:
    """Read the header, check its promises against limits and file size, then exactly what it promises."""
    head = stream.read(540)
    with np.errstate(all="ignore"):  # damaged numbers are judged below, not warned about
        layout = _read_layout(head, path)
    n_bytes = layout.offset + math.prod(layout.shape) * layout.dtype.itemsize
    if n_bytes > MAX_BYTES:
        raise DataError(
            f"the header of {path} promises {n_bytes / 1024**3:.0f} GiB (sizes {layout.shape}), more than "
            f"the {MAX_BYTES / 1024**3:.0f} GiB a brain image may have: the header is broken, convert again"
        )
    size = path.stat().st_size * (MAX_DEFLATE_RATIO if packed else 1)
    if size < n_bytes:
        raise DataError(f"{path} is truncated: its header promises {n_bytes} bytes, copy or convert it again")
    content = head + stream.read(max(0, n_bytes - len(head)))
    if len(content) < n_bytes:
        raise DataError(f"{path} is truncated: {len(content)} of {n_bytes} bytes are there, copy it again")
    if len(stream.read(MAX_TRAILING_BYTES + 1)) > MAX_TRAILING_BYTES:
        raise DataError(f"{path} goes on after the {n_bytes} bytes its header promises: convert it again")
    return layout, memoryview(content)[layout.offset : n_bytes]


def _read_layout(head: bytes, path: Path) -> _Layout:
    """Understand a NIfTI-1, NIfTI-2 or MGH header."""
    if not head:
        raise DataError(f"{path} is empty: fetch its content (datalad get) or copy it again")
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    try:
        if 348 in sizes and len(head) >= 348 and head[344:348] == b"n+1\0":
            layout = _nifti_layout(NIFTI1(head[:348]), path)
        elif 540 in sizes and len(head) >= 540 and head[4:8] == b"n+2\0":
            layout = _nifti_layout(NIFTI2(head[:540]), path)
        elif path.name.endswith((".mgz", ".mgh")) and head[:4] == b"\0\0\0\1" and len(head) >= 284:
            layout = _mgh_layout(head, path)
        else:
            raise DataError(f"{path} is no NIfTI or MGZ image, or a truncated one: convert or copy it again")
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"the header of {path} makes no sense ({error}): convert the image again") from error
    if len(layout.shape) < 3 or min(layout.shape) < 1 or math.prod(layout.shape[3:]) != 1:
        raise DataError(f"{path} must hold one image with three axes, got the sizes {layout.shape}: pick one")
    if layout.dtype.kind not in "iuf" or layout.dtype.itemsize > 8:
        raise DataError(f"{path} must hold plain numbers, got {layout.dtype} (colour or complex): convert it")
    return layout


def _nifti_layout(header: Any, path: Path) -> _Layout:
    """Read sizes, type, scaling and position from a NIfTI header."""
    if header["sform_code"] > 0:
        affine = header.get_sform()
    elif header["qform_code"] > 0:
        affine = header.get_qform()
    else:
        raise DataError(f"{path} does not say where it lies (sform and qform codes are 0): convert it again")
    offset = float(header["vox_offset"])
    if not header.sizeof_hdr <= offset <= MAX_HEADER_BYTES:
        raise DataError(f"the voxels of {path} cannot start at byte {offset:g}: convert the image again")
    slope, intercept = header.get_slope_inter()
    shape = tuple(int(size) for size in header.get_data_shape())
    return _Layout(shape, header.get_data_dtype(), int(offset), slope, intercept or 0.0, affine)


def _mgh_layout(head: bytes, path: Path) -> _Layout:
    """Read sizes, type and position from an MGH header."""
    if head[28:30] != b"\0\1":  # nibabel would put a scanner-independent default in its place
        raise DataError(f"{path} does not say where it lies (goodRASFlag is 0): convert it from DICOM")
    header = MGH.from_fileobj(BytesIO(head[:284]))
    shape = tuple(int(size) for size in header.get_data_shape())
    affine = header.get_affine().astype(np.float64)
    return _Layout(shape, header.get_data_dtype(), 284, None, 0.0, affine)


def _scaled(values: np.ndarray, layout: _Layout) -> np.ndarray:
    """Apply the header's scaling; integers without scaling keep their type."""
    slope = layout.slope
    is_plain = slope is None or (slope == 1.0 and layout.intercept == 0.0)
    if is_plain and values.dtype.kind in "iu":
        return values.astype(values.dtype.newbyteorder("="), order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        if slope is None or is_plain:
            return values.astype(np.float32, order="C")
        return (values * np.float64(slope) + np.float64(layout.intercept)).astype(np.float32, order="C")
