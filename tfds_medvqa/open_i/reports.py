"""Reports of Open-I: images, text and coded findings."""

import dataclasses
import pathlib
from collections.abc import Iterable
from xml.etree import ElementTree

from tfds_medvqa.common.rows import Reason, RowError

SECTIONS = ("INDICATION", "FINDINGS", "IMPRESSION")

TERMS = (
    ("atelectasis", "pulmonary atelectasis", ()),
    # CheXpert's labeler counts an enlarged cardiac shadow to the heart, not to the mediastinum.
    ("cardiomegaly", "cardiac shadow", ("enlarged",)),
    ("cardiomegaly", "cardiomegaly", ()),
    ("consolidation", "consolidation", ()),
    ("edema", "pulmonary edema", ()),
    ("enlarged cardiomediastinum", "mediastinum", ("enlarged", "prominent")),
    ("fracture", "fractures, bone", ()),
    ("lung lesion", "mass", ()),
    ("lung lesion", "nodule", ()),
    ("lung opacity", "airspace disease", ()),
    ("lung opacity", "infiltrate", ()),
    ("lung opacity", "opacity", ()),
    ("no finding", "normal", ()),
    ("pleural effusion", "hydropneumothorax", ()),
    ("pleural effusion", "pleural effusion", ()),
    ("pleural other", "pleura", ()),
    ("pleural other", "thickening", ("pleura",)),
    ("pneumonia", "pneumonia", ()),
    ("pneumothorax", "hydropneumothorax", ()),
    ("pneumothorax", "pneumothorax", ()),
    ("support devices", "catheters, indwelling", ()),
    ("support devices", "implanted medical device", ()),
    ("support devices", "medical device", ()),
    ("support devices", "stents", ()),
    ("support devices", "surgical instruments", ()),
    ("support devices", "tube, inserted", ()),
)
"""(finding, coded term that implies it, qualifiers of which the term must have one)."""


@dataclasses.dataclass(frozen=True)
class Report:
    """One report.

    Attributes:
      identity: Name of its file without ".xml"; every report has a different patient.
      images: Identifiers of its images, in nearly all reports the frontal view first.
      terms: Major coded terms, such as "Opacity/lung/base/left".
      sections: Section to text; the text is empty if the report lacks the section.
      where: Path of its file.
    """

    identity: str
    images: tuple[str, ...]
    terms: tuple[str, ...]
    sections: dict[str, str]
    where: str

    def text(self, names: Iterable[str]) -> str:
        """Returns some of its sections, concatenated."""
        return " ".join(self.sections[name] for name in names if self.sections[name])


def read_report(path: pathlib.Path) -> Report:
    """Reads a report.

    Raises:
      RowError: if it is not an XML file, or an image has no name.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, LookupError, RecursionError, ValueError) as error:
        raise RowError(Reason.BROKEN, f"{path}: is not an XML file ({error})") from error
    texts = {each.get("Label"): each.text or "" for each in root.iter("AbstractText")}
    images = tuple((each.get("id") or "").strip() for each in root.iter("parentImage"))
    if not all(images):
        raise RowError(Reason.BROKEN, f"{path}: has a parentImage without an id")
    return Report(
        identity=path.stem,
        images=images,
        terms=tuple((each.text or "").strip() for each in root.iter("major")),
        sections={name: " ".join(texts.get(name, "").split()) for name in SECTIONS},
        where=str(path),
    )


def findings(terms: Iterable[str]) -> set[str]:
    """Translates coded terms.

    Args:
      terms: Coded terms, such as "Opacity/lung/base/left".

    Returns:
      The implied findings of `FINDINGS`; "no finding" only if there is no other.

    >>> sorted(findings(["Opacity/lung/base", "Thickening/pleura/left", "Spine/degenerative"]))
    ['lung opacity', 'pleural other']
    """
    found = set()
    for term in terms:
        head, *qualifiers = (part.strip() for part in term.lower().split("/"))
        for finding, name, any_of in TERMS:
            if head == name and (not any_of or set(any_of) & set(qualifiers)):
                found.add(finding)
    return found if found <= {"no finding"} else found - {"no finding"}
