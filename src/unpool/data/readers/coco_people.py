"""People of COCO, one a sample: annotations/person_keypoints_<split>2017.json beside the folders of images.

A labelled joint counts as visible, hidden or not, as in COCO's metric. Crowds and people with fewer than
`least_joints` joints are left out. People whose box is empty or lies beside the image are left out too, and listed in
`faults`. A sample is the square around the person's box, whose side is `square` times the box's longer side. There is
no labelled test split, so test is val.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Data format".
"""

from pathlib import Path

from unpool.data.readers import coco
from unpool.data.readers.person_crops import Person, PersonCrops, require_square
from unpool.data.readers.splits import Split, origin_of, with_exif
from unpool.limits import LeastJoints, Square
from unpool.types import RGB, Decoding, Exif


class CocoPeople(PersonCrops):
    """People in everyday pictures, 17 joints each.

    Args:
        square: side of the square, in units of the longer side of the person's box; None gives whole images.
        least_joints: people with fewer labelled joints are left out.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        square: Square | None = 1.25,
        least_joints: LeastJoints = 1,
        decoding: Decoding = RGB,
        exif: Exif = "ignore",
    ) -> None:
        decoding = with_exif(decoding, exif)
        require_square(square)
        content = coco.read_annotations(root, split, least_joints=least_joints)
        people = _people(content)
        if not people:
            raise coco.missing_people(content, least_joints)
        self.info = content.info
        super().__init__(root, people, square=square, decoding=decoding, with_area=True)
        self.faults, self.set_files = content.faults, (content.path,)
        self.notes = content.notes
        ignored = len(content.people) - len(people) - len(content.faults)
        self.origin = {**origin_of(root, split, ignored=ignored), "square": square}


def _people(content: coco.Annotations) -> list[Person]:
    """Returns the labelled people, ordered by image id, then annotation id."""
    people = []
    for one in content.people:
        if one["id"] in content.labelled:
            joints, area = coco.joints_of(one), float(one["area"])
            image, size_hw = content.images[one["image_id"]]
            name, visible = coco.name_of(one, image), joints[:, 2] > 0
            people.append(Person(image, name, joints[:, :2], visible, coco.box_of(one), area, size_hw))
    return people
