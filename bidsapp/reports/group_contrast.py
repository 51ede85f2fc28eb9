"""The section of the cohort's page on two groups of patients."""

import numpy as np

from bidsapp.analysis.contrast import ContrastAnalysis
from bidsapp.images.volume import Volume
from bidsapp.reports.cohort_words import counted, p_phrase
from bidsapp.reports.figures import frequency_picture
from bidsapp.reports.planes import CONVENTION, brain_mosaic
from bidsapp.reports.section import Section


def contrast_sections(
    contrast: ContrastAnalysis | None, template: Volume, labels: Volume, *, virtual: bool
) -> tuple[Section, ...]:
    """Show where two groups differ; nothing if nobody asked."""
    if contrast is None:
        return ()
    names = contrast.contrast
    groups = (
        f"{names.column}: {names.first} ({counted(contrast.n_first, 'patient')}) against {names.second} "
        f"({counted(contrast.n_second, 'patient')}), voxel by voxel."
    )
    sentences = [groups]
    if contrast.smallest_p_value is None or contrast.difference is None:
        sentences.append(f"Not tested: {contrast.reason}.")
        return (Section("contrast", "Groups", "Two groups", tuple(sentences)),)
    sentences.append(
        f"{counted(contrast.n_voxels, 'voxel')} with lesions of at least {contrast.fewest_patients} patients "
        f"were compared; {contrast.n_significant} differ with a p-value below 0.05, corrected for all voxels "
        f"by {contrast.n_permutations} permutations of patients. Smallest p "
        f"{p_phrase(contrast.smallest_p_value)}."
    )
    size = Volume(np.abs(contrast.difference.data), contrast.difference.space)
    text = f"Slices of the atlas, coloured by how far the two groups differ. {CONVENTION}"
    picture = frequency_picture(
        brain_mosaic(labels), template, size, "difference in share of patients", text, virtual=virtual
    )
    return (Section("contrast", "Groups", "Two groups", tuple(sentences), (picture,)),)
