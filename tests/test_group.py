import gc
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bidsapp.group as story
from bidsapp.analysis.places import analyse_places
from bidsapp.analysis.regions import region_volumes
from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import structures
from bidsapp.bids.names import Kind, output_path
from bidsapp.bids.save import load_table, save_table, save_volume
from bidsapp.errors import DataError, MissingInputError
from bidsapp.geometry.space import Space
from bidsapp.group import run_group
from bidsapp.images.nifti import read_volume
from bidsapp.images.volume import Volume
from bidsapp.lesions.table import LESION_COLUMNS, empty_lesion_table
from bidsapp.reports.group import GroupPage, write_group_report
from bidsapp.settings import Contrast, GroupSettings, RunSettings, Selection

ATLAS = "TESTATLAS"
SHAPE = (20, 21, 22)


def toy_atlas() -> AtlasPack:
    """Each of the 34 structures a bar of voxels, the first two pairs ten times as thick as the others."""
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [19, -20, -21]
    space = Space(SHAPE, affine)
    thickness = [10 if index in (1, 2, 3, 4) else 1 for index in range(1, 35)]
    order = np.repeat(np.arange(1, 35), np.array(thickness) * 100).astype(np.uint8)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels.flat[: len(order)] = order
    template = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)
    return AtlasPack(
        ATLAS, Volume(template, space), Volume(labels, space), None, {}, None, {"a.nii": "0" * 64}
    )


@pytest.fixture(autouse=True, scope="module")
def _quick_collection() -> Iterator[None]:
    """Spare statsmodels' calls of the garbage collector the objects of all imported libraries."""
    gc.freeze()
    yield
    gc.unfreeze()


Cohort = Callable[..., RunSettings]


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort:
    """Write a dataset and the results of the participant level: scan name to indices of hit structures."""
    atlas = toy_atlas()
    monkeypatch.setattr(story, "load_builtin", lambda: atlas)
    monkeypatch.setattr(story, "analyse_places", partial(analyse_places, n_places=2000))
    monkeypatch.setattr(
        story, "write_group_report", lambda page, path: path.write_text("\n".join(page.warnings))
    )
    bids_dir, output_dir = tmp_path / "bids", tmp_path / "out"

    def write(
        scans: dict[str, Sequence[int]], participants: str | None = None, unprocessed: Sequence[str] = ()
    ) -> RunSettings:
        subjects = {name.split("_")[0] for name in scans} | set(unprocessed)
        for subject in subjects:
            (bids_dir / f"sub-{subject}").mkdir(parents=True)
        (bids_dir / "dataset_description.json").write_text('{"Name": "Toy", "BIDSVersion": "1.10.0"}')
        if participants is not None:
            (bids_dir / "participants.tsv").write_text(participants)
        for name, hits in scans.items():
            write_scan(output_dir, name, hits, atlas)
        return RunSettings(selection=Selection(bids_dir=bids_dir), output_dir=output_dir, work_dir=tmp_path)

    return write


def write_scan(output_dir: Path, name: str, hits: Sequence[int], atlas: AtlasPack) -> None:
    subject, _, session = name.partition("_ses-")
    entities = {"ses": session} if session else {}
    rows = [lesion_row(subject, session or None, number, index) for number, index in enumerate(hits, 1)]
    table = pd.DataFrame(rows, columns=list(LESION_COLUMNS)) if rows else empty_lesion_table()
    save_table(table, output_path(output_dir, subject, entities, Kind.LESION_METRICS, ATLAS), LESION_COLUMNS)
    mask = np.isin(atlas.labels.data, [index for index in hits if index]).astype(np.uint8)
    path = output_path(output_dir, subject, entities, Kind.LESION_MASK, ATLAS)
    save_volume(Volume(mask, atlas.labels.space), path, {"Type": "Lesion"})


def lesion_row(subject: str, session: str | None, number: int, index: int) -> dict[str, object]:
    """One lesion in the middle of the structure `index`; 0 is outside all of them."""
    atlas = toy_atlas()
    row: dict[str, object] = dict.fromkeys(LESION_COLUMNS, 1.5)
    text = ("size_class", "centroid_source", "overlap", "territory", "territory_overlap")
    row |= dict.fromkeys(
        (*text, *(name for name in LESION_COLUMNS if name.startswith(("structure", "region"))))
    )
    row |= {"subject": subject, "session": session, "lesion": number, "n_voxels": 9, "overlap": "{}"}
    row |= {"size_class": "small", "centroid_source": "mask", "native_volume_mm3": 100.0, "hemisphere": None}
    row |= dict.fromkeys([name for name in LESION_COLUMNS if name.startswith("perfusion")], np.nan)
    voxels = np.argwhere(atlas.labels.data == index)
    middle = atlas.labels.space.voxel_to_world(voxels[len(voxels) // 2][None].astype(float))[0]
    row |= {f"atlas_{axis}_mm": value for axis, value in zip("xyz", middle, strict=True)}
    if index:
        hit = structures()[index]
        row |= dict.fromkeys(("structure_centroid", "structure_nearest", "structure_majority"), hit.name)
        row |= dict.fromkeys(("region_centroid", "region_nearest", "region_majority"), hit.region)
        row["hemisphere"] = hit.hemisphere
    return row


def table_of(settings: RunSettings, name: str) -> pd.DataFrame:
    return load_table(settings.output_dir / "group" / f"{name}.tsv")


def summary_of(settings: RunSettings) -> dict[str, object]:
    return json.loads((settings.output_dir / "group" / "summary.json").read_text())


def notes_of(settings: RunSettings) -> list[str]:
    """Notes of the cohort; that the atlas has no other maps is none of its making."""
    notes = summary_of(settings)["notes"]
    assert isinstance(notes, list)
    return [note for note in notes if not note.startswith(("Arterial territories", "Perfusion"))]


@pytest.fixture
def real_page(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the page, which takes seconds, instead of a stand-in."""
    monkeypatch.setattr(story, "write_group_report", write_group_report)


SITES = "participant_id\tsite\nsub-01\tWest\n02\tEast\nsub-03\tWest\nsub-04\tn/a\n"


@pytest.mark.usefixtures("real_page")
def test_two_centres_are_tested_apart_and_together(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 1, 3], "02": [3], "03": [2, 0], "04": [11]}, SITES)
    report = run_group(settings)
    assert report == settings.output_dir / "group.html"
    assert "Toy" in report.read_text()
    names = {path.stem for path in (settings.output_dir / "group").glob("*.tsv")}
    assert {"lesions", "patients", "regions_combined", "regions_site_West", "regions_site_East"} <= names
    combined = table_of(settings, "regions_combined").set_index("region")
    assert len(combined) == 19
    assert combined["n_observed"].sum() == 6
    assert combined.loc["Cerebral White Matter", "n_observed"] == 3
    west = table_of(settings, "regions_site_West").set_index("region")
    assert west["n_observed"].sum() == 4
    strata = summary_of(settings)["strata"]
    assert list(strata) == ["East", "West", "combined"]
    assert strata["combined"]["n_lesions_outside_structures"] == 1
    assert summary_of(settings)["heterogeneity"]["n_permutations"] == 999


def test_the_lesion_table_holds_each_lesion_with_its_centre(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 1], "02": [3], "04": [11]}, SITES)
    run_group(settings)
    lesions = table_of(settings, "lesions")
    assert lesions["subject"].tolist() == ["01", "01", "02", "04"]
    assert lesions["site"].fillna("none").tolist() == ["West", "West", "East", "none"]
    sidecar = json.loads((settings.output_dir / "group" / "lesions.json").read_text())
    assert set(sidecar) == {*LESION_COLUMNS, "region", "site", "Provenance"}
    assert sidecar["Provenance"]["random seed"] == "0"
    assert sidecar["Provenance"]["atlas file a.nii"] == "sha256 " + "0" * 64


def test_expected_counts_follow_the_volumes_of_the_atlas(cohort: Cohort) -> None:
    settings = cohort({"01": [1] * 14, "02": [3] * 13}, SITES)
    run_group(settings)
    regions = table_of(settings, "regions_combined").set_index("region")
    volumes = region_volumes(toy_atlas().labels).sum(axis=1)
    np.testing.assert_allclose(regions["n_expected"], 27 * volumes / volumes.sum(), rtol=1e-5)
    assert volumes["Cerebral White Matter"] == pytest.approx(2000 * 8)
    assert regions["tested"].sum() == 2


def test_a_patient_counts_once_by_the_first_session_with_lesions(cohort: Cohort) -> None:
    settings = cohort({"01_ses-2": [], "01_ses-10": [3, 3], "01_ses-9": [1], "02_ses-1": [4]}, SITES)
    run_group(settings)
    assert table_of(settings, "lesions")["session"].astype(str).tolist() == ["9", "1"]
    notes = summary_of(settings)["notes"]
    assert "sub-01 has 3 scans and counts once: ses-9 is used, the first with lesions." in notes
    assert notes[0] == "Of patients with several sessions, the first with lesions is counted."
    assert notes[0] in (settings.output_dir / "group.html").read_text()


def test_the_frequency_map_counts_every_patient_once(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 1], "02": [1, 4], "03": [], "04": [4]}, SITES)
    run_group(settings)
    folder = settings.output_dir / f"tpl-{ATLAS}" / "anat"
    share = read_volume(folder / f"tpl-{ATLAS}_res-1_label-L_desc-frequency_probseg.nii.gz")
    labels = toy_atlas().labels.data
    assert np.unique(share.data[labels == 1]).tolist() == [0.5]
    assert np.unique(share.data[labels == 4]).tolist() == [0.5]
    assert not share.data[(labels != 1) & (labels != 4)].any()


def test_patients_without_results_are_excluded_and_said(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, SITES, unprocessed=["03"])
    run_group(settings)
    patients = table_of(settings, "patients").set_index("participant")
    assert patients["status"].to_dict() == {"sub-01": "used", "sub-02": "used", "sub-03": "excluded"}
    assert patients.loc["sub-03", "reason"].startswith("no results of the participant level")
    summary = summary_of(settings)
    assert (summary["n_patients_found"], summary["n_patients_used"]) == (3, 2)
    assert list(summary["excluded"]) == ["sub-03"]


def test_a_patient_without_a_lesion_mask_does_not_count_as_free_of_lesions(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": []}, SITES)
    output_path(settings.output_dir, "02", {}, Kind.LESION_MASK, ATLAS).unlink()
    run_group(settings)
    patients = table_of(settings, "patients").set_index("participant")
    assert patients.loc["sub-02", "reason"] == "no lesion mask, or an empty one"


def assert_no_broken_number(settings: RunSettings, report: Path) -> None:
    """Every p-value is one, or is missing with a reason; no table, summary or page shows NaN."""
    for path in (settings.output_dir / "group").iterdir():
        assert not re.search(r"\bnan\b", path.read_text(), re.IGNORECASE), path.name
    assert not re.search(r">[^<]*\bnan\b", report.read_text(), re.IGNORECASE)
    for path in (settings.output_dir / "group").glob("*.tsv"):
        values = load_table(path).filter(regex="p_value").apply(pd.to_numeric).to_numpy(np.float64)
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all(), path.name
    regions = table_of(settings, "regions_combined")
    assert regions.loc[regions["chi2_p_value"].isna(), "reason"].notna().all()
    assert regions.loc[regions["clustered_p_value"].isna(), "clustered_reason"].notna().all()


@pytest.mark.usefixtures("real_page")
@pytest.mark.parametrize("scans", [{"01": [1], "02": [3]}, {"01": [1], "02": [1]}, {"01": [], "02": [3]}])
def test_one_or_two_lesions_of_two_patients_break_no_number(
    cohort: Cohort, scans: dict[str, list[int]]
) -> None:
    settings = cohort(scans, SITES)
    assert_no_broken_number(settings, run_group(settings))
    assert not table_of(settings, "regions_combined")["clustered_significant"].any()


@pytest.mark.usefixtures("real_page")
def test_a_region_without_volume_has_a_sentence_instead_of_numbers(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The atlas has no putamen: nothing is expected there, but one lesion claims to lie in it."""
    atlas, gone = toy_atlas(), structures()[11].region
    labels = np.where(np.isin(atlas.labels.data, [11, 12]), 0, atlas.labels.data).astype(np.uint8)
    settings = cohort({"01": [1, 1, 3], "02": [3, 11], "03": [4, 2]}, SITES)
    without = replace(atlas, labels=Volume(labels, atlas.labels.space))
    monkeypatch.setattr(story, "load_builtin", lambda: without)
    assert_no_broken_number(settings, run_group(settings))
    row = table_of(settings, "regions_combined").set_index("region").loc[gone]
    assert (row["n_observed"], row["n_expected"]) == (1, 0)
    numbers = ("ratio", "chi2_p_value", "exact_p_value", "clustered_p_value", "clustered_holm_p_value")
    assert row[list(numbers)].isna().all()
    assert "volume" in row["reason"]
    assert "volume" in row["clustered_reason"]
    power = table_of(settings, "power")
    assert power.loc[power["region"] == gone, "reason"].notna().all()


@pytest.mark.usefixtures("real_page")
@pytest.mark.parametrize("hits", [[], [0], [1], [1, 4]])
def test_hardly_any_lesions_give_tables_without_invented_numbers(cohort: Cohort, hits: list[int]) -> None:
    settings = cohort({"01": hits})
    report = run_group(settings)
    regions = table_of(settings, "regions_combined")
    assert len(regions) == 19
    assert not regions["significant"].any()
    assert not regions["clustered_significant"].any()
    assert regions["reason"].notna().all()
    if len([index for index in hits if index]) != 1:
        assert regions["clustered_p_value"].isna().all()
        assert regions["clustered_reason"].notna().all()
    assert_no_broken_number(settings, report)
    notes = notes_of(settings)
    assert notes[0] == "There is no participants.tsv: all patients are taken as one centre."
    assert len(notes) == 1 + any(hits)


def test_a_cohort_of_few_patients_is_told_so(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 1, 1], "02": [3]}, SITES)
    run_group(settings)
    assert "as much as 1.6 patients" in notes_of(settings)[-1]


def test_many_patients_need_no_such_warning(cohort: Cohort) -> None:
    settings = cohort({f"{number:02d}": [1] for number in range(20)}, SITES)
    run_group(settings)
    assert notes_of(settings) == []


@pytest.mark.usefixtures("real_page")
def test_one_centre_has_no_comparison_of_centres(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 3], "03": [3]}, SITES)
    assert_no_broken_number(settings, run_group(settings))
    summary = summary_of(settings)
    assert list(summary["strata"]) == ["combined"]
    assert summary["heterogeneity"] is None


def test_participants_without_a_site_are_one_centre(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, "participant_id\tage\nsub-01\t60\n")
    run_group(settings)
    assert "no column site" in notes_of(settings)[0]


@pytest.mark.usefixtures("real_page")
def test_sites_that_differ_in_signs_only_keep_their_tables_apart(cohort: Cohort) -> None:
    sites = "participant_id\tsite\n01\tA-1\n02\ta/1\n03\t<b>\n04\tcombined\n"
    settings = cohort({"01": [1], "02": [3], "03": [4], "04": [2]}, sites)
    report = run_group(settings)
    names = {path.stem for path in (settings.output_dir / "group").glob("regions*.tsv")}
    assert names == {
        "regions_combined",
        "regions_site_A1",
        "regions_site_a1_2",
        "regions_site_b",
        "regions_site_combinedcentre",
    }
    assert "&lt;b&gt;" in report.read_text()


def test_tables_of_centres_that_are_gone_are_removed(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, SITES)
    run_group(settings)
    (settings.selection.bids_dir / "participants.tsv").unlink()
    run_group(settings)
    assert {path.stem for path in (settings.output_dir / "group").glob("regions*")} == {"regions_combined"}


def test_two_runs_write_the_same_bytes(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 1, 3], "02": [3], "03": [2, 0], "04": [11]}, SITES)

    def outputs() -> dict[str, bytes]:
        run_group(settings)
        paths = [*(settings.output_dir / "group").iterdir(), *settings.output_dir.glob("tpl-*/anat/*")]
        return {path.name: path.read_bytes() for path in paths}

    assert outputs() == outputs()


def test_only_the_participants_asked_for_are_counted(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3], "03": [4]}, SITES)
    selection = Selection(bids_dir=settings.selection.bids_dir, participants=("01", "sub-03"))
    chosen = RunSettings(selection=selection, output_dir=settings.output_dir, work_dir=settings.work_dir)
    run_group(chosen)
    assert table_of(settings, "lesions")["subject"].tolist() == ["01", "03"]


def test_without_any_results_the_way_out_is_told(cohort: Cohort) -> None:
    settings = cohort({}, SITES, unprocessed=["01"])
    with pytest.raises(MissingInputError, match="run the participant level first"):
        run_group(settings)
    assert not (settings.output_dir / "group").exists()


def test_lesions_of_another_atlas_are_refused(cohort: Cohort) -> None:
    settings = cohort({"01": [1]}, SITES)
    path = output_path(settings.output_dir, "01", {}, Kind.LESION_MASK, ATLAS)
    save_volume(Volume(np.ones((4, 5, 6), dtype=np.uint8), Space((4, 5, 6), np.eye(4))), path, {})
    with pytest.raises(DataError, match="must lie on the grid of the atlas"):
        run_group(settings)
    path.unlink()
    with pytest.raises(MissingInputError, match="give the same --atlas"):
        run_group(settings)


def test_a_table_of_another_version_is_refused(cohort: Cohort) -> None:
    settings = cohort({"01": [1]}, SITES)
    path = output_path(settings.output_dir, "01", {}, Kind.LESION_METRICS, ATLAS)
    save_table(pd.DataFrame({"lesion": [1]}), path, LESION_COLUMNS)
    with pytest.raises(DataError, match="another version made it"):
        run_group(settings)


def test_scans_aligned_to_other_files_of_an_atlas_of_the_same_name_are_refused(cohort: Cohort) -> None:
    """Labels were mended, or a map of territories added, after the participant level had read the places."""
    settings, atlas = cohort({"01": [1], "02": [3]}, SITES), toy_atlas()
    path = output_path(settings.output_dir, "02", {}, Kind.WARPED_T1W, ATLAS)
    save_volume(atlas.template, path, {"AtlasChecksums": dict(atlas.checksums)})
    run_group(settings)
    others = {**atlas.checksums, "territories.nii.gz": "0" * 64}
    save_volume(atlas.template, path, {"AtlasChecksums": others})
    with pytest.raises(DataError, match=r"has now, got others in .*sub-02.*territories.nii.gz"):
        run_group(settings)


def test_a_tab_too_many_at_the_end_of_each_line_loses_no_centre(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, "participant_id\tsite\nsub-01\tA\t\nsub-02\tB\t\n")
    run_group(settings)
    assert table_of(settings, "patients")["site"].tolist() == ["A", "B"]


def test_a_broken_participants_table_is_refused(cohort: Cohort) -> None:
    settings = cohort({"01": [1]}, "participant_id\tsite\nsub-01\tA\tB\tC\n")
    (settings.selection.bids_dir / "participants.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="must be a table separated by tabs"):
        run_group(settings)


def with_choices(settings: RunSettings, **choices: object) -> RunSettings:
    return replace(settings, group=GroupSettings(**choices))


def test_of_several_sessions_the_last_or_all_may_be_chosen(cohort: Cohort) -> None:
    settings = cohort({"01_ses-1": [1, 1], "01_ses-2": [3], "01_ses-3": [], "02_ses-1": [4]}, SITES)
    run_group(with_choices(settings, session="last"))
    assert table_of(settings, "lesions")["session"].astype(str).tolist() == ["2", "1"]
    assert summary_of(settings)["notes"][0].startswith("Of patients with several sessions, the last")
    run_group(with_choices(settings, session="all"))
    lesions = table_of(settings, "lesions")
    assert lesions["subject"].tolist() == ["01"] * 3 + ["02"]
    assert table_of(settings, "patients")["session"].tolist() == ["1, 2, 3", "1"]
    assert summary_of(settings)["strata"]["combined"]["n_patients_with_lesions"] == 2
    folder = settings.output_dir / f"tpl-{ATLAS}" / "anat"
    share = read_volume(folder / f"tpl-{ATLAS}_res-1_label-L_desc-frequency_probseg.nii.gz")
    assert np.unique(share.data).tolist() == [0.0, 0.5]


def test_lesions_outside_all_structures_may_count_for_the_nearest(cohort: Cohort) -> None:
    settings = cohort({"01": [1, 0], "02": [3]}, SITES)
    path = output_path(settings.output_dir, "01", {}, Kind.LESION_METRICS, ATLAS)
    lesions = load_table(path).astype({"structure_nearest": object})
    lesions.loc[1, "structure_nearest"] = structures()[4].name
    save_table(lesions, path, LESION_COLUMNS)
    run_group(settings)
    assert table_of(settings, "regions_combined")["n_observed"].sum() == 2
    run_group(with_choices(settings, off_structure="nearest"))
    regions = table_of(settings, "regions_combined").set_index("region")
    assert regions["n_observed"].sum() == 3
    assert regions.loc[structures()[4].region, "n_observed"] == 2
    assert summary_of(settings)["choices"]["off_structure"] == "nearest"


def test_without_maps_no_mask_is_read_and_page_and_folder_follow(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cohort({"01": [1], "02": [3]}, SITES)
    run_group(settings)
    folder = settings.output_dir / f"tpl-{ATLAS}" / "anat"
    assert len(list(folder.iterdir())) == 2
    before = table_of(settings, "regions_combined")
    for subject in ("01", "02"):
        output_path(settings.output_dir, subject, {}, Kind.LESION_MASK, ATLAS).unlink()
    pages: list[GroupPage] = []
    monkeypatch.setattr(story, "write_group_report", lambda page, _: pages.append(page))
    run_group(with_choices(settings, maps=False))
    assert list(folder.iterdir()) == []
    pd.testing.assert_frame_equal(table_of(settings, "regions_combined"), before)
    assert pages[0].frequency is None
    assert story.NO_MAPS in pages[0].warnings
    assert pages[0].methods["maps"] is False


def test_any_column_divides_patients_into_centres_and_an_unknown_one_is_refused(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, "participant_id\tscanner\nsub-01\tOld\nsub-02\tNew\n")
    run_group(with_choices(settings, group_by="scanner"))
    assert list(summary_of(settings)["strata"]) == ["New", "Old", "combined"]
    assert set(table_of(settings, "without_centre")["left_out"]) == {"New", "Old"}
    with pytest.raises(DataError, match=r"names the column 'coil': participants.tsv has scanner"):
        run_group(with_choices(settings, group_by="coil"))
    (settings.selection.bids_dir / "participants.tsv").unlink()
    with pytest.raises(DataError, match=r"there is no participants.tsv, write one"):
        run_group(with_choices(settings, group_by="scanner"))


def test_two_groups_are_compared_voxel_by_voxel(cohort: Cohort) -> None:
    participants = "participant_id\tprimary\n" + "".join(
        f"sub-{number:02d}\t{'melanoma' if number < 8 else 'lung'}\n" for number in range(16)
    )
    scans = {f"{number:02d}": [1 if number < 8 else 3] for number in range(16)}
    settings = cohort(scans, participants)
    chosen = Contrast(column="primary", first="melanoma", second="lung")
    run_group(with_choices(settings, contrast=chosen))
    found = summary_of(settings)["contrast"]
    assert (found["n_first"], found["n_second"]) == (8, 8)
    assert found["n_voxels"] == found["n_significant"] == 2000
    folder = settings.output_dir / f"tpl-{ATLAS}" / "anat"
    difference = folder / f"tpl-{ATLAS}_res-1_label-L_desc-difference_statmap.nii.gz"
    labels = toy_atlas().labels.data
    assert np.unique(read_volume(difference).data[labels == 1]).tolist() == [1.0]
    assert np.unique(read_volume(difference).data[labels == 3]).tolist() == [-1.0]
    run_group(settings)
    assert not difference.exists()


def test_a_contrast_that_cannot_be_made_says_why(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3]}, "participant_id\tprimary\nsub-01\tlung\nsub-02\tbreast\n")
    run_group(with_choices(settings, contrast=Contrast(column="primary", first="lung", second="breast")))
    assert "each group needs two" in summary_of(settings)["contrast"]["reason"]
    with pytest.raises(DataError, match="which nobody has in the column primary: it holds breast, lung"):
        run_group(with_choices(settings, contrast=Contrast(column="primary", first="lung", second="skin")))
    with pytest.raises(DataError, match=r"names the column 'tumour': participants.tsv has primary"):
        run_group(with_choices(settings, contrast=Contrast(column="tumour", first="a", second="b")))


@pytest.mark.usefixtures("real_page")
def test_the_preset_decides_whose_verdict_leads(cohort: Cohort) -> None:
    settings = cohort({f"{number:02d}": [3] * 6 for number in range(6)}, SITES)
    clustered = run_group(settings).read_text()
    paper = run_group(with_choices(settings, preset="paper")).read_text()
    lead = re.compile(r'<p class="lead">(.*?)</p>', re.DOTALL)
    assert "kept together" in lead.search(clustered)[1]
    assert "every lesion independent" in lead.search(paper)[1]
    assert "kept together" in paper


@pytest.mark.usefixtures("real_page")
def test_one_patient_with_half_of_all_lesions_is_named(cohort: Cohort) -> None:
    settings = cohort({"00": [11] * 20} | {f"{number:02d}": [3] for number in range(1, 21)})
    assert_no_broken_number(settings, run_group(settings))
    influence = table_of(settings, "influence").set_index("region")
    hit = structures()[11].region
    assert influence.loc[hit, "patient"] == "00"
    assert influence.loc[hit, "n_patient_inside"] == 20
    assert any("weighs as much as" in note for note in notes_of(settings))


def test_the_methods_are_told_where_lesions_came_from_and_how_they_were_placed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cohort({"01": [1], "02": [3]}, SITES)
    masks = settings.output_dir / "masks"
    for subject, index in (("01", 1), ("02", 3)):
        mask = Volume((toy_atlas().labels.data == index).astype(np.uint8), toy_atlas().labels.space)
        save_volume(mask, masks / f"sub-{subject}_space-{ATLAS}_label-lesion_mask.nii.gz", {})
    told: list[tuple[object, object]] = []

    def keep(page: GroupPage, _: Path) -> None:
        told.append((page.methods["off_structure"], page.methods["lesions_in_atlas_space"]))

    monkeypatch.setattr(story, "write_group_report", keep)
    run_group(with_choices(settings, off_structure="nearest"))
    run_group(with_choices(settings, off_structure="overlap", lesions_in_atlas_space=masks))
    assert told == [("nearest", False), ("overlap", True)]


def test_masks_in_atlas_space_are_analysed_without_the_participant_level(cohort: Cohort) -> None:
    settings = cohort({"01": [1], "02": [3, 3], "03": []}, SITES)
    folder = settings.output_dir / "masks"
    for subject, index in (("01", 1), ("02", 3), ("03", 0)):
        mask = (toy_atlas().labels.data == index) & (index > 0)
        path = folder / f"sub-{subject}_space-{ATLAS}_label-lesion_mask.nii.gz"
        save_volume(Volume(mask.astype(np.uint8), toy_atlas().labels.space), path, {})
    run_group(with_choices(settings, lesions_in_atlas_space=folder))
    assert table_of(settings, "patients")["status"].tolist() == ["used"] * 3
    lesions = table_of(settings, "lesions")
    assert set(lesions["subject"]) == {"01", "02"}
    assert lesions["region"].tolist() == [structures()[1].region, structures()[3].region]
    assert any("masks in atlas space" in note for note in notes_of(settings))
    assert any("Of 2 lesions the location error is not known" in note for note in notes_of(settings))
    assert lesions["location_error_mm"].isna().all()
