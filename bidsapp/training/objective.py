"""Eq. (1): what a general network costs, looked at in the space of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bidsapp.geometry import kernels
from bidsapp.geometry.velocity import exponentiate_voxels
from bidsapp.registration import paper
from bidsapp.registration.grids import N_LABELS
from bidsapp.registration.losses.correlation import negative_correlation
from bidsapp.registration.losses.similarity import label_dissimilarity
from bidsapp.registration.losses.smoothness import mean_squared_gradient
from bidsapp.training.scans import Sight

_SQUARING_STEPS = 7
_SMOOTHNESS_WEIGHT = 0.05  # of the mean squared gradient (mm per mm), against a dissimilarity from 0 to 1


@dataclass(frozen=True)
class GeneralObjective:
    """The cost of one velocity for each of several heads.

    Every head i is compared with the atlas where the *head* is, not where the atlas is: there a tumour that
    collapses gains nothing. Our dissimilarity looks from the atlas as well: seen from the heads alone it fell
    while the heads' structures moved away from the atlas's. Heads are compared with each other, too.

    Parameters
    ----------
    atlas
        On the grid of the velocity.
    kind
        "paper" or "overlap".

    References
    ----------
    Wielenberg et al. 2026, eq. (1), figure 2 and appendix A.1. doi:10.48550/arXiv.2602.12933
    """

    atlas: Sight
    kind: str

    def terms(
        self, velocities: Sequence[Float[Tensor, "3 i j k"]], heads: Sequence[Sight]
    ) -> dict[str, Float64[Tensor, ""]]:
        """Give every term, weighted and summed over the heads; one velocity each, in voxels of the grid."""
        there = [exponentiate_voxels(v, squaring_steps=_SQUARING_STEPS) for v in velocities]
        back = [exponentiate_voxels(-v, squaring_steps=_SQUARING_STEPS) for v in velocities]
        to_atlas = [self._compare_both(*each) for each in zip(heads, there, back, strict=True)]
        smooth = [mean_squared_gradient(way) for way in there]
        similarity, smoothness, pairs = self._weights()
        terms = {
            "dissimilarity": similarity * torch.stack(to_atlas).sum(),
            "smoothness": smoothness * torch.stack(smooth).sum(),
        }
        between = [
            self._compare_heads(heads[one], heads[other], (there[one], there[other]), back[one])
            for one in range(len(heads))
            for other in range(len(heads))
            if one != other
        ]
        if between:
            terms["pair_dissimilarity"] = pairs * torch.stack(between).sum()
        return terms

    def validation_dice(self, velocity: Float[Tensor, "3 i j k"], head: Sight) -> float:
        """Mean soft Dice overlap of the structures in atlas space."""
        there = exponentiate_voxels(velocity, squaring_steps=_SQUARING_STEPS)
        return 1 - _dissimilarity(self.atlas.fine, head.fine, there).item()

    def _weights(self) -> tuple[float, float, float]:
        if self.kind == "paper":
            return paper.SIMILARITY_WEIGHT, paper.SMOOTHNESS_WEIGHT, paper.PAIR_WEIGHT
        return 1.0, _SMOOTHNESS_WEIGHT, paper.PAIR_WEIGHT / paper.SIMILARITY_WEIGHT

    def _compare_both(
        self, head: Sight, there: Float[Tensor, "3 i j k"], back: Float[Tensor, "3 i j k"]
    ) -> Float64[Tensor, ""]:
        """Compare a head with the atlas where the head is; our dissimilarity looks from the atlas, too."""
        from_head = self._compare(head, self.atlas, back)
        if self.kind == "paper":
            return from_head
        return (from_head + self._compare(self.atlas, head, there)) / 2

    def _compare(self, still: Sight, warped: Sight, way: Float[Tensor, "3 i j k"]) -> Float64[Tensor, ""]:
        """Compare `still` with `warped`, read where `way` leads from the voxels of `still`."""
        if self.kind == "overlap":
            return _dissimilarity(still.fine, warped.fine, way)
        shared = torch.isin(still.labels, torch.unique(warped.labels))
        return negative_correlation(still.depth, _read(warped.depth, way), shared)

    def _compare_heads(
        self,
        one: Sight,
        other: Sight,
        there: tuple[Float[Tensor, "3 i j k"], Float[Tensor, "3 i j k"]],
        back: Float[Tensor, "3 i j k"],
    ) -> Float64[Tensor, ""]:
        """Compare two heads: their distance maps on the atlas's grid, their labels where the first is."""
        if self.kind == "overlap":
            return _dissimilarity(one.fine, other.fine, kernels.compose(there[1], back))
        maps = _read(one.depth, there[0]), _read(other.depth, there[1])
        return negative_correlation(*maps, torch.ones_like(one.labels, dtype=torch.bool))


def _dissimilarity(
    fixed: UInt8[Tensor, "a b c"], moving: UInt8[Tensor, "a b c"], way: Float[Tensor, "3 i j k"]
) -> Float64[Tensor, ""]:
    """Compare labels on a grid twice as fine as that of the displacement."""
    to_grid = torch.tensor([[0.5, -0.25]] * 3, dtype=way.dtype, device=way.device)
    index_map = torch.eye(3, 4, dtype=way.dtype, device=way.device)
    maps = index_map, 2 * index_map[:, :3]
    overlap, volume = kernels.label_votes(way, to_grid, fixed, moving, maps, N_LABELS)
    counts = [torch.bincount(labels.flatten(), minlength=N_LABELS).double() for labels in (fixed, moving)]
    present = (counts[0] > 0) & (counts[1] > 0)
    present[0] = False
    return label_dissimilarity(overlap, volume, counts[0], present)


def _read(depth: Float[Tensor, "i j k"], way: Float[Tensor, "3 i j k"]) -> Float[Tensor, "i j k"]:
    """Read a distance map where `way` leads; beyond the grid lies background as deep as depth is counted."""
    i, j, k = depth.shape
    to_grid, maps = _same_grid(way)
    return kernels.sample_image(way, to_grid, depth - 1, maps, (i, j, k)) + 1


def _same_grid(way: Float[Tensor, "3 i j k"]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Both sides and the displacement live on one grid."""
    to_grid = torch.tensor([[1.0, 0.0]] * 3, dtype=way.dtype, device=way.device)
    index_map = torch.eye(3, 4, dtype=way.dtype, device=way.device)
    return to_grid, (index_map, index_map[:, :3].contiguous())
