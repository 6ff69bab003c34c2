"""Images that rows name: inside the folder of their dataset, and read when they are needed."""

import dataclasses
import io
import pathlib

from tfds_medvqa.common import images
from tfds_medvqa.common.errors import ImageError, ImageSizeError
from tfds_medvqa.common.file_names import on_disk
from tfds_medvqa.common.image_limits import DecodeOptions, read_bytes
from tfds_medvqa.common.rows import Reason, Row, RowError, shown


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """An image that belongs to a row.

    Attributes:
      content: Path of the file, or the encoded image itself.
      where: File and row that it belongs to.
      shorter_side: Largest shorter side in pixels, to which larger images are downscaled; 0 keeps
        every image's size.
    """

    content: pathlib.Path | bytes
    where: str
    shorter_side: int = 0

    def read(self, options: DecodeOptions) -> io.BytesIO:
        """Decodes the image once; see `images.encode_checked`.

        Raises:
          RowError: if it cannot be used.
        """
        name = f"{self.where}:"
        try:
            content = self.content
            if isinstance(content, pathlib.Path):
                name = f"{self.where} names {content}:"
                content = read_bytes(content, options.max_pixels)
            return images.encode_checked(content, self.shorter_side, options)
        except ImageSizeError as error:
            raise RowError(Reason.LARGE_IMAGE, f"{name} {error}") from error
        except (ImageError, OSError) as error:
            raise RowError(Reason.UNREADABLE_IMAGE, f"{name} {error}") from error


def is_relative(name: str) -> bool:
    """Returns True for a path that stays below the folder it starts from, on every system.

    >>> [is_relative(each) for each in ("a/b.png", "../b.png", "/b.png", "C:\\\\b.png")]
    [True, False, False, False]
    """
    posix, windows = pathlib.PurePosixPath(name), pathlib.PureWindowsPath(name)
    return not (posix.is_absolute() or windows.root or ".." in windows.parts)


def find_inside(row: Row, folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Finds a file that a row names.

    Args:
      row: Row that names it.
      folder: Folder in which it must lie.
      name: Path of the file from that folder.

    Returns:
      Its path; None if it is absent.

    Raises:
      RowError: if the path leaves the folder, by itself or by a link.
    """
    if not is_relative(name):
        raise row.error(Reason.OUTSIDE_FILE, f"names {shown(name)}, which is outside of {folder}")
    path = folder / on_disk(name)
    try:
        place = path.resolve(strict=True)
        if not place.is_file():
            return None
    except (OSError, RuntimeError, ValueError):  # absent, a circle of links, or no name of a file
        return None
    if not place.is_relative_to(folder.resolve()):
        raise row.error(
            Reason.OUTSIDE_FILE, f"names {shown(name)}, a link that leads out of {folder}"
        )
    return path
