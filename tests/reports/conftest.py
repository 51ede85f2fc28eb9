"""A coarse, oblique, asymmetric head whose pages take a fraction of a second."""

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from bidsapp.atlas.seganat import structures
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.metrics.measurements import measure
from bidsapp.reports.group import GroupPage
from bidsapp.reports.participant import ParticipantPage
from bidsapp.statistics.clustered import clustered_table
from bidsapp.statistics.hemispheres import hemisphere_test
from bidsapp.statistics.heterogeneity import heterogeneity_test
from bidsapp.statistics.regions import omnibus_test, region_table, volume_fractions

LESION_CENTRES = ((-36.0, -10.0, 24.0), (28.0, 20.0, 10.0))
LESION_RADII = (14.0, 9.0)


def oblique_space() -> Space:
    """An oblique, anisotropic, left-handed grid around the origin."""
    angle = 0.15
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], dtype=np.float64
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-4.0, 4.5, 5.0])
    shape = (46, 48, 36)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Space(shape, affine)


def head_labels(space: Space) -> Volume:
    """Cortex around white matter, a thalamus and a ventricle on each side."""
    points = space.voxel_centres_mm()
    radius = np.linalg.norm(points / np.array([70.0, 88.0, 70.0]), axis=1)
    right = points[:, 0] > 0
    labels = np.zeros(len(points), dtype=np.uint8)
    for limit, left_label in ((1.0, 3), (0.8, 1), (0.35, 13), (0.18, 5)):
        labels[radius < limit] = (left_label + right)[radius < limit]
    return Volume(labels.reshape(space.shape), space)


def lesion_mask(space: Space) -> Volume:
    """Two balls, numbered."""
    points = space.voxel_centres_mm()
    mask = np.zeros(len(points), dtype=np.uint8)
    for number, (centre, radius) in enumerate(zip(LESION_CENTRES, LESION_RADII, strict=True), start=1):
        mask[np.linalg.norm(points - np.array(centre), axis=1) < radius] = number
    return Volume(mask.reshape(space.shape), space)


def lesion_rows() -> pd.DataFrame:
    """What the lesion table says about the two balls: one preserved, one slightly shrunk."""
    rows = []
    for number, (centre, radius) in enumerate(zip(LESION_CENTRES, LESION_RADII, strict=True), start=1):
        volume = 4 / 3 * np.pi * radius**3
        position = {
            f"{frame}_{axis}_mm": value
            for frame in ("native", "atlas")
            for axis, value in zip("xyz", centre, strict=True)
        }
        factor = (1.0, 0.9)[number - 1]
        volumes = {
            "native_volume_mm3": volume,
            "affine_volume_mm3": volume * 1.1,
            "atlas_volume_mm3": volume * 1.1 * factor,
            "volume_factor": factor,
        }
        rows.append(
            {
                "lesion": number,
                **position,
                **volumes,
                "region_centroid": "Cerebral White Matter",
                "territory": None,
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def participant_page() -> ParticipantPage:
    """A scan that passes every check."""
    space = oblique_space()
    labels, mask = head_labels(space), lesion_mask(space)
    image = Volume(
        np.array([0, 200, 200, 120, 120, 20, 20, *[0] * 6, 150, 150, *[0] * 20], dtype=np.float32)[
            labels.data
        ]
        + 60 * (mask.data > 0),
        space,
    )
    before = Volume(np.roll(labels.data, 2, axis=0), space)
    coarse = space.with_spacing(8.0)
    displacement = np.zeros((3, *coarse.shape), dtype=np.float32)
    displacement[0] = np.linspace(-2, 2, coarse.shape[0])[:, np.newaxis, np.newaxis]
    jacobian = Volume(np.linspace(0.8, 1.25, displacement[0].size).reshape(coarse.shape), coarse)
    measured = measure(
        labels, before, labels, displacement=displacement, inverse_displacement=-displacement, space=coarse
    )
    summary = {**measured.summary, "missing_structures": ""}
    steps = np.arange(12)
    return ParticipantPage(
        title="sub-01 ses-02",
        virtual=False,
        inputs=(
            ("lesion mask", "derivatives/masks/sub-01/anat/sub-01_label-lesion_mask.nii.gz", "2 lesions"),
        ),
        template=image,
        warped_affine=Volume(np.roll(image.data, 2, axis=0), space),
        warped=image,
        fixed_labels=labels,
        warped_labels=labels,
        affine_labels=before,
        lesion_mask=mask,
        affine_lesion_mask=mask,
        t1w=image,
        native_lesion_mask=Volume(mask.data > 0, space),
        jacobian=jacobian,
        structures=measured.structures,
        summary=summary,
        lesions=lesion_rows(),
        convergence=pd.DataFrame({"iteration": steps, "level": steps // 6, "similarity": 1 / (1 + steps)}),
        warnings=(),
        methods={"version": "0.1", "atlas": "phantom"},
        provenance={"version": "0.1", "command": "metsatlas in out participant"},
        displacement_mm=displacement,
    )


def cohort_counts(n_patients: int) -> pd.DataFrame:
    """Lesions of each patient in each region, more cortex than volume explains."""
    names = list(dict.fromkeys(each.region for each in structures()[1:]))
    weights = np.full(len(names), 1.0)
    weights[names.index("Cerebral Cortex")] = 40.0
    rng = np.random.default_rng(5)
    drawn = [rng.multinomial(1 + rng.poisson(2), weights / weights.sum()) for _ in range(n_patients)]
    return pd.DataFrame(drawn, columns=names, index=[f"sub-{number:02d}" for number in range(n_patients)])


def regions_of(counts: pd.DataFrame) -> pd.DataFrame:
    """Both analyses in one table; one region without volume, so that p-values are missing."""
    volumes = pd.Series(np.linspace(1, 3, counts.shape[1]), index=counts.columns)
    volumes["Vessel"] = 0.0
    fractions = volume_fractions(volumes)
    return region_table(counts.sum(), fractions).merge(clustered_table(counts, fractions), on="region")


def cohort_lesions(counts: pd.DataFrame, sites: pd.Series) -> pd.DataFrame:
    """One row for each lesion counted, somewhere in the head."""
    rng = np.random.default_rng(6)
    rows = [
        {"subject": str(patient).removeprefix("sub-"), "region": region, "site": sites[patient]}
        for patient, row in counts.iterrows()
        for region in counts.columns.repeat(row)
    ]
    frame = pd.DataFrame(rows)
    places = pd.DataFrame(
        rng.uniform(-40, 40, (len(frame), 3)), columns=[f"atlas_{axis}_mm" for axis in "xyz"]
    )
    side = np.where(places["atlas_x_mm"] < 0, "left", "right")
    volumes = np.geomspace(3, 30_000, len(frame))
    number = frame.groupby("subject").cumcount() + 1
    return frame.assign(session=None, lesion=number, hemisphere=side, native_volume_mm3=volumes).join(places)


@pytest.fixture(scope="session")
def group_page(participant_page: ParticipantPage) -> GroupPage:
    """A cohort of two centres."""
    counts = cohort_counts(30)
    counts["Vessel"] = 0
    sites = pd.Series(["North"] * 20 + ["South"] * 10, index=counts.index)
    patients = pd.DataFrame(
        {
            "participant": [*counts.index, "sub-99"],
            "site": [*sites, "South"],
            "status": ["used"] * 30 + ["excluded"],
            "reason": [""] * 30 + ["no lesion mask"],
            "n_lesions": [*counts.sum(axis=1), 0],
            "report": [*(f"{name}.html" for name in counts.index), None],
        }
    )
    volumes = pd.Series(np.linspace(1, 3, counts.shape[1]), index=counts.columns)
    frequency = Volume(
        (participant_page.lesion_mask.data > 0).astype(np.float32) * 3, participant_page.template.space
    )
    return GroupPage(
        title="Cohort",
        virtual=False,
        patients=patients,
        lesions=cohort_lesions(counts, sites),
        regions={
            "combined": regions_of(counts),
            "North": regions_of(counts[sites == "North"]),
            "South": regions_of(counts[sites == "South"]),
        },
        omnibus={"combined": omnibus_test(counts.sum(), volume_fractions(volumes))},
        hemispheres={
            "combined": hemisphere_test(40, 35, 10.0, 10.0),
            "South": hemisphere_test(1, 0, 0.0, 1.0),
        },
        heterogeneity=heterogeneity_test(counts, sites, n_permutations=19),
        frequency=frequency,
        template=participant_page.template,
        labels=participant_page.fixed_labels,
        warnings=(),
        methods={"version": "0.1", "atlas": "phantom", "alpha": 0.01, "minimum_count": 10},
        provenance={"version": "0.1"},
    )


class Outline(HTMLParser):
    """Collects what the tests ask about: elements with their attributes, and the text that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def parse() -> Callable[[str], Outline]:
    """Parse a page."""

    def read(html: str) -> Outline:
        parser = Outline()
        parser.feed(html)
        parser.close()
        return parser

    return read


@pytest.fixture
def changed() -> Callable[..., object]:
    """Return a record with some fields replaced."""
    return replace
