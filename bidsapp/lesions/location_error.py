"""How far a lesion's place in the atlas may be off, in millimetres, by the registration's own account."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree
from scipy.stats import norm

from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.faces import Faces, distances_to_faces_mm, label_faces
from bidsapp.lesions.instances import Lesion

REACH_MM = 15.0
"""Borders within this distance of a lesion tell how well its neighbourhood was aligned."""

MEDIAN_TO_DEVIATION = float(1 / norm.ppf(0.75))
"""Standard deviation of a normal distribution over the median of its absolute values, 1.4826."""

_MOST_FACES = 4000


def location_error_mm(
    misfit_mm: float, round_trip_mm: float, discrepancy_mm: float, spread_mm: float = np.nan
) -> float:
    """Join what is known of a lesion's error into a standard error along each axis, in mm.

    Root of the sum of squares. The misfit of borders is a distance along one direction, across the border;
    the next two are lengths in three dimensions, of which each axis has a third of the square.

    Parameters
    ----------
    misfit_mm
        Of `BorderMisfit.near`; without it there is no error: NaN.
    round_trip_mm
        Root mean square over the lesion of `bidsapp.images.alignment.Alignment.round_trip_mm`.
    discrepancy_mm
        Distance between the centre of the warped lesion and its warped centre; NaN counts as none.
    spread_mm
        Of `spread_of_centres_mm`; NaN, without repeats, counts as none.

    References
    ----------
    Christensen and Johnson 2001, IEEE Trans. Med. Imaging 20:568-582 (inverse consistency).
    doi:10.1109/42.932742
    Rousseeuw and Croux 1993, J. Am. Stat. Assoc. 88:1273-1283, section 1 (median to standard deviation).
    doi:10.1080/01621459.1993.10476408

    Examples
    --------
    Half of the borders miss by more than 1 mm, and both kinds of centre lie 3 mm apart:

    >>> round(location_error_mm(1.0, 0.0, 3.0), 2)
    2.28
    """
    lengths = round_trip_mm**2 + np.nan_to_num(discrepancy_mm) ** 2
    across = (MEDIAN_TO_DEVIATION * misfit_mm) ** 2
    return float(np.sqrt(across + lengths / 3 + np.nan_to_num(spread_mm) ** 2))


@dataclass(frozen=True, slots=True, eq=False)
class BorderMisfit:
    """How far borders between a patient's structures still miss those of the atlas after the alignment.

    Parameters
    ----------
    native, native_space
        Borders of the patient and the grid they lie on.
    lesions
        Centres of all voxels of the patient's lesions, world mm.
    fixed, fixed_space
        Borders of the atlas and the grid they lie on, whose axes are perpendicular.
    alignment
        From the atlas (fixed) to the patient (moving).
    """

    native: Faces
    native_space: Space
    lesions: KDTree
    fixed: Faces
    fixed_space: Space
    alignment: Alignment

    @classmethod
    def of(
        cls, brain: Volume, atlas: Volume, alignment: Alignment, lesion_voxels_mm: Float64[np.ndarray, "n 3"]
    ) -> "BorderMisfit":
        """Prepare a scan with at least one lesion, from SegAnat labels of the patient and of the atlas."""
        return cls(
            label_faces(brain),
            brain.space,
            KDTree(lesion_voxels_mm),
            label_faces(atlas),
            atlas.space,
            alignment,
        )

    def near(self, voxels_mm: Float64[np.ndarray, "n 3"]) -> float:
        """Measure the median distance of borders near one lesion, sent to the atlas, to the borders there.

        Every face of the patient's label map within 15 mm of the lesion counts for the structures on either
        side of it, and is compared with the border of the same structure in the atlas. Faces that touch a
        lesion do not count: labels inside lesions are guesses. Distances end at 15 mm, which also stands
        for a structure that the atlas does not have there.

        Parameters
        ----------
        voxels_mm
            Centres of the lesion's voxels, the patient's world.

        Returns
        -------
        misfit_mm
            0 where all borders meet; NaN where there is no border.
        """
        faces = self._around(voxels_mm)
        if not len(faces):
            return float("nan")
        points = self.alignment.moving_to_fixed(self.native_space.voxel_to_world(faces.midpoints))
        there = self.fixed_space.world_to_voxel(points)
        reach = REACH_MM / np.array(self.fixed_space.voxel_sizes_mm)
        first, last = there.min(axis=0) - reach, there.max(axis=0) + reach
        inside = ((self.fixed.midpoints >= first) & (self.fixed.midpoints <= last)).all(axis=1)
        fixed = self.fixed[inside]
        found = [
            self._distances(there[own], fixed[(fixed.low == label) | (fixed.high == label)])
            for label in np.unique([faces.low, faces.high])
            if label and (own := (faces.low == label) | (faces.high == label)).any()
        ]
        return float(np.median(np.concatenate(found)))

    def _around(self, voxels_mm: np.ndarray) -> Faces:
        """Choose the faces near one lesion and at none, evenly thinned out where they are very many."""
        corners = np.array(
            np.meshgrid(*np.stack([voxels_mm.min(0) - REACH_MM, voxels_mm.max(0) + REACH_MM]).T)
        )
        box = self.native_space.world_to_voxel(corners.reshape(3, -1).T)
        midpoints = self.native.midpoints
        faces = self.native[((midpoints >= box.min(axis=0)) & (midpoints <= box.max(axis=0))).all(axis=1)]
        points = self.native_space.voxel_to_world(faces.midpoints)
        touches = max(self.native_space.voxel_sizes_mm) / 2 + 1e-6
        near = KDTree(voxels_mm).query(points, distance_upper_bound=REACH_MM)[0] <= REACH_MM
        near &= self.lesions.query(points, distance_upper_bound=touches)[0] > touches
        chosen = np.flatnonzero(near)
        return faces[chosen[:: max(1, int(np.ceil(len(chosen) / _MOST_FACES)))]]

    def _distances(self, voxels: np.ndarray, faces: Faces) -> np.ndarray:
        if not len(faces):
            return np.full(len(voxels), REACH_MM)
        return np.minimum(distances_to_faces_mm(voxels, faces, self.fixed_space.voxel_sizes_mm), REACH_MM)


def spread_of_centres_mm(
    lesions: Sequence[Lesion], alignments: Iterable[Alignment]
) -> Float64[np.ndarray, " n"]:
    """Measure how far the centres of lesions scatter over repeated alignments of one scan.

    Standard deviation along each axis (root mean square over the three), with one degree of freedom less
    than alignments. NaN for fewer than two of them.

    Parameters
    ----------
    lesions
        Their native centres of gravity are sent to the atlas as points.
    alignments
        Taken one by one, so they may be computed on the way.
    """
    points = np.array([lesion.centre_mm for lesion in lesions]).reshape(-1, 3)
    centres = np.array([each.moving_to_fixed(points) for each in alignments])
    if len(centres) < 2:
        return np.full(len(lesions), np.nan)
    return np.asarray(np.sqrt(centres.var(axis=0, ddof=1).mean(axis=1)))
