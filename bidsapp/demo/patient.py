"""One virtual patient: head, metastases, scans."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import structures
from bidsapp.demo.implant import Implanted, implant, white_matter_intensity
from bidsapp.demo.placement import N_CANDIDATES, Candidates, structure_voxels
from bidsapp.demo.plan import SMALLEST_MM, Contrast, Inside, Lesions, Tumour, draw_tumours
from bidsapp.demo.scanner import PROTOCOLS, Anatomy, Protocol, draw_gains, expose, native_space, scan_anatomy
from bidsapp.demo.true_map import TrueMap, draw_affine, draw_true_map
from bidsapp.errors import DataError
from bidsapp.images.volume import Volume

MASS_EFFECT_FROM_MM, MASS_EFFECT_FRACTION = 12.0, 0.12
FAR_ORIGINS_MM = (0.0, 350.0, 0.0)
INSIDE: tuple[Inside, ...] = ("background", "wrong")
SHRINKAGE = 0.8
MOST_ATTEMPTS = 10


@dataclass(frozen=True)
class Visit:
    """One session of a virtual patient.

    Parameters
    ----------
    session
        Label without "ses-", or None.
    t1w
        The scans by contrast, on one grid.
    labels, mask
        SegAnat labels as a tool would write them, and all tumours.
    true_map
        Correspondence with the atlas, mass effects included.
    truth
        One row a tumour.
    """

    session: str | None
    t1w: Mapping[Contrast, Volume]
    labels: Volume
    mask: Volume
    true_map: TrueMap
    truth: pd.DataFrame


def draw_patient(
    atlas: AtlasPack, number: int, places: tuple[str, ...], rng: np.random.Generator
) -> tuple[Visit, ...]:
    """Make one virtual patient.

    The first has a plain and a contrast-enhanced scan, the second two sessions; grids, origins and what the
    label maps hold inside tumours change from one to the next.

    Parameters
    ----------
    atlas
        Where everything comes from.
    number
        Of the patient in the cohort, from 1.
    places
        Region of each metastasis.
    rng
        Source of chance.

    Raises
    ------
    DataError
        If there is no room for the metastases even when they are small.
    """
    far_mm = FAR_ORIGINS_MM[number % len(FAR_ORIGINS_MM)]
    peak_mm, smoothness_mm = rng.uniform(8, 10), rng.uniform(12, 20)
    true_map = draw_true_map(
        atlas.template.space, rng, peak_mm=peak_mm, smoothness_mm=smoothness_mm, far_mm=far_mm
    )
    gains = draw_gains(rng)
    tumours = tuple(_push_if_large(tumour) for tumour in draw_tumours(places, rng))
    head = _Head(atlas, true_map, gains, PROTOCOLS[(number - 1) % len(PROTOCOLS)], INSIDE[number % 2])
    if number != 2:
        contrasts: tuple[Contrast, ...] = ("enhancing", "plain") if number == 1 else ("enhancing",)
        return (_draw_visit(head, tumours, None, contrasts, rng),)
    first = _draw_visit(head, tumours, "01", ("enhancing",), rng)
    later = replace(head, true_map=true_map.repositioned(_nod(atlas, rng)))
    shrunk = _follow_up(first.truth, later.true_map)
    return first, _draw_visit(later, shrunk, "02", ("enhancing",), rng)


@dataclass(frozen=True)
class _Head:
    """A head and how it is scanned."""

    atlas: AtlasPack
    true_map: TrueMap
    gains: Float64[np.ndarray, "35"]
    protocol: Protocol
    inside: Inside


def _draw_visit(
    head: _Head,
    tumours: tuple[Tumour, ...],
    session: str | None,
    contrasts: tuple[Contrast, ...],
    rng: np.random.Generator,
) -> Visit:
    """Scan a head with its tumours in every contrast."""
    space = native_space(head.true_map, head.atlas, head.protocol)
    views = scan_anatomy(head.atlas, head.true_map, space, gains=head.gains, contrasts=contrasts)
    seed = int(rng.integers(2**63))
    candidates = atlas_candidates(head.atlas.labels, head.true_map, rng)
    first = _implant_until_it_fits(views[contrasts[0]], Lesions(tumours, head.inside), seed, candidates)
    t1w = {contrasts[0]: first.t1w}
    for contrast in contrasts[1:]:
        lesions = Lesions(_as_placed(first.truth), head.inside, contrast)
        t1w[contrast] = implant(*views[contrast], lesions, np.random.default_rng(seed)).t1w
    exposed = {}
    for contrast, image in t1w.items():
        white_matter = white_matter_intensity(*views[contrast])
        exposed[contrast] = expose(image, white_matter, rng)
    true_map = head.true_map.with_mass_effects(first.mass_effects)
    truth = _add_atlas_centres(first.truth, true_map, head.atlas)
    truth["labels_inside"] = head.inside
    return Visit(session, exposed, first.labels, first.mask, true_map, truth)


def atlas_candidates(atlas_labels: Volume, true_map: TrueMap, rng: np.random.Generator) -> Candidates:
    """Draw possible centres evenly over a tumour's structure in the atlas, and send them to the patient."""

    def draw(tumour: Tumour) -> Float64[np.ndarray, "n 3"]:
        if tumour.centre_mm is not None:
            return np.array([tumour.centre_mm], dtype=np.float64)
        index = structure_voxels(atlas_labels, tumour.structure)
        chosen = index[rng.integers(len(index), size=N_CANDIDATES)]
        inside = chosen + rng.uniform(-0.5, 0.5, chosen.shape)
        return true_map.fixed_to_moving(atlas_labels.space.voxel_to_world(inside))

    return draw


def _implant_until_it_fits(view: Anatomy, lesions: Lesions, seed: int, candidates: Candidates) -> Implanted:
    """Implant tumours, smaller ones while there is no room for all.

    Shrinking, unlike drawing other places, leaves the spatial preference as it was asked for.
    """
    for _ in range(MOST_ATTEMPTS):
        try:
            return implant(*view, lesions, np.random.default_rng(seed), candidates=candidates)
        except DataError:
            lesions = replace(lesions, tumours=tuple(_shrunk(tumour) for tumour in lesions.tumours))
    raise DataError(f"found no room for {len(lesions.tumours)} virtual metastases: ask for fewer a patient")


def _shrunk(tumour: Tumour) -> Tumour:
    """Make a tumour and its push a fifth smaller."""
    smaller = max(SMALLEST_MM, SHRINKAGE * tumour.diameter_mm)
    return replace(tumour, diameter_mm=smaller, mass_effect_mm=SHRINKAGE * tumour.mass_effect_mm)


def _push_if_large(tumour: Tumour) -> Tumour:
    """Let large tumours push their surroundings."""
    if tumour.diameter_mm >= MASS_EFFECT_FROM_MM:
        return replace(tumour, mass_effect_mm=MASS_EFFECT_FRACTION * tumour.diameter_mm)
    return tumour


def _as_placed(truth: pd.DataFrame) -> tuple[Tumour, ...]:
    """Plan the very tumours of a truth table again."""
    return tuple(
        Tumour(
            float(row["diameter_mm"]),
            str(row["structure"]),
            "ring" if row["kind"] == "ring" else "solid",
            float(row["mass_effect_mm"]),
            (float(row["planned_x_mm"]), float(row["planned_y_mm"]), float(row["planned_z_mm"])),
        )
        for row in truth.to_dict("records")
    )


def _follow_up(truth: pd.DataFrame, true_map: TrueMap) -> tuple[Tumour, ...]:
    """Show the same metastases after therapy: same place in the atlas, a fifth smaller, no mass effect."""
    centres = true_map.fixed_to_moving(truth[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].to_numpy(float))
    placed = _as_placed(truth)
    return tuple(
        replace(_shrunk(tumour), mass_effect_mm=0.0, centre_mm=(float(x), float(y), float(z)))
        for tumour, (x, y, z) in zip(placed, centres, strict=True)
    )


def _nod(atlas: AtlasPack, rng: np.random.Generator) -> Float64[np.ndarray, "4 4"]:
    """Rigid movement between two sessions."""
    space = atlas.template.space
    moved = draw_affine(space.voxel_to_world((np.array([space.shape]) - 1.0) / 2)[0], rng, far_mm=0.0)
    left, _, right = np.linalg.svd(moved[:3, :3])
    moved[:3, :3] = left @ right
    return moved


def _add_atlas_centres(truth: pd.DataFrame, true_map: TrueMap, atlas: AtlasPack) -> pd.DataFrame:
    """Send the masks' centres of gravity through the true map and look up where they arrive."""
    arrived = true_map.moving_to_fixed(truth[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64))
    index = np.rint(atlas.labels.space.world_to_voxel(arrived)).astype(int)
    found = atlas.labels.data[tuple(index.T)]
    centres = pd.DataFrame(arrived, columns=["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"], index=truth.index)
    regions = [structures()[int(label)].region for label in found]
    return pd.concat([truth, centres], axis=1).assign(atlas_structure=regions)
