"""Made-up DICOM files, with a patient's name that must be found nowhere else."""

import io
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from tests.helpers.image_modes import PAGE, SIDE, Mode, grey

MARKER = "Mustermann^Zebra"


def dicom(
    values: np.ndarray,
    *,
    frames: int = 1,
    syntax: str = uid.ExplicitVRLittleEndian,
    data: bytes | None = None,
    **elements: Any,
) -> bytes:
    """A DICOM file of an array [rows, columns] or [frames, rows, columns] with or without colour.

    `data` is the compressed picture of one frame; `elements` are set last, None removes one.
    """
    is_colour = values.shape[-1] == 3 and values.ndim > 2
    rows, columns = values.shape[-3:-1] if is_colour else values.shape[-2:]
    bits = 8 * values.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3.4"
    dataset.PatientName, dataset.PatientID, dataset.Modality = MARKER, MARKER, "OT"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    dataset.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() if data is None else encapsulate([data])
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    dataset["PixelData"].is_undefined_length = data is not None
    for name, value in elements.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def items(**elements: Any) -> Sequence:
    """A sequence of one item."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return Sequence([item])


def make_dicom_modes() -> dict[str, Mode]:
    """Name to file; of several frames the one at `PAGE` is expected."""
    draw = np.random.default_rng(2)
    stored = draw.integers(0, 1 << 12, (SIDE, SIDE), dtype=np.uint16)
    frames = draw.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    hounsfield = stored - 1024.0
    window = {"WindowCenter": 40.5, "WindowWidth": 401}
    return {
        "DICOM": Mode("dcm", dicom(stored, BitsStored=12), grey(stored * 255.0 / 4095)),
        "DICOM of CT": Mode(
            "dcm",
            dicom(stored, Modality="CT", **rescale),
            grey(np.clip((hounsfield + 1000) * 255 / 2000, 0, 255)),
        ),
        "DICOM with a window": Mode(
            "dcm",
            dicom(stored, **rescale, **window),
            grey(np.clip((hounsfield + 160) * 255 / 400, 0, 255)),
        ),
        "DICOM with white as 0": Mode(
            "dcm", dicom(frames[0], PhotometricInterpretation="MONOCHROME1"), 255 - grey(frames[0])
        ),
        "DICOM of several frames": Mode("dcm", dicom(frames, frames=3), grey(frames[PAGE - 1])),
    }
