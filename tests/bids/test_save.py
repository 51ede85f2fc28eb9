"""Saving: files are whole or not there, tables are the same bytes in every run."""

import errno
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.atlas.seganat import structures
from bidsapp.bids import save
from bidsapp.bids.save import (
    atomic_write,
    lesion_lookup,
    load_table,
    save_json,
    save_labels,
    save_structures,
    save_table,
    save_text,
    save_volume,
    structure_lookup,
    sweep,
)
from bidsapp.errors import DataError, MissingInputError, OutputError, ReadWriteError
from bidsapp.geometry.space import Space
from bidsapp.images.nifti import read_volume
from bidsapp.images.volume import Volume

OBLIQUE = Space(
    (4, 5, 6),
    np.array([[-1.9, 0.3, 0.1, 10.0], [0.2, 1.1, -0.4, -7.0], [0.1, 0.3, 2.8, 3.0], [0, 0, 0, 1.0]]),
)


def _raise(error):
    raise error


class TestAtomicWrite:
    def test_the_old_file_stays_until_the_new_one_is_whole(self, tmp_path):
        path = tmp_path / "sub" / "a.txt"
        save_text("old", path)
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
            assert temporary.parent == path.parent
        assert path.read_text() == "new"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), OSError(errno.EIO, "broken")])
    def test_a_failure_leaves_nothing_behind(self, tmp_path, error):
        path = tmp_path / "a.txt"
        save_text("old", path)

        def fail_half_way():
            with atomic_write(path) as temporary:
                temporary.write_text("half")
                raise error

        with pytest.raises((ValueError, KeyboardInterrupt, ReadWriteError)):
            fail_half_way()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_named(self, tmp_path, number):
        text = r"disk is full, could not write .*a\.txt: free some space"
        with pytest.raises(ReadWriteError, match=text), atomic_write(tmp_path / "a.txt"):
            raise OSError(number, "No space left on device")

    def test_a_full_disk_is_named_when_a_library_hides_the_number(self, tmp_path):
        with pytest.raises(ReadWriteError, match="disk is full"), atomic_write(tmp_path / "a.h5"):
            raise OSError(
                "Can't synchronously write data (errno = 28, error message = 'No space left on device')"
            )

    def test_an_image_on_a_full_disk_names_its_final_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gzip.GzipFile, "write", lambda *_: _raise(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(ReadWriteError, match=r"disk is full, could not write .*/a\.nii\.gz"):
            save_volume(Volume(np.ones(OBLIQUE.shape, np.float32), OBLIQUE), tmp_path / "a.nii.gz", {})
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
    def test_a_folder_that_refuses_is_an_output_error(self, tmp_path, monkeypatch, number):
        monkeypatch.setattr(Path, "mkdir", lambda *_, **__: _raise(OSError(number, "Read-only file system")))
        with pytest.raises(OutputError, match=r"could not create .*Read-only.*choose an output folder"):
            save_text("x", tmp_path / "new" / "a.txt")

    def test_a_file_in_the_folders_place_is_an_output_error(self, tmp_path):
        (tmp_path / "out").write_text("I am a file")
        with pytest.raises(OutputError, match="could not create"):
            save_text("x", tmp_path / "out" / "sub-01" / "a.txt")

    def test_many_writers_of_one_file_never_show_half_of_it(self, tmp_path):
        path = tmp_path / "shared.txt"
        texts = [str(digit) * 50_000 for digit in range(4)]

        def write_and_read(text):
            for _ in range(20):
                save_text(text, path)
                assert path.read_text() in texts

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write_and_read, texts))
        assert list(tmp_path.iterdir()) == [path]


class TestTextAndJson:
    def test_the_same_text_is_not_written_again(self, tmp_path):
        path = tmp_path / "README"
        save_text("same", path)
        before = path.stat().st_ino
        save_text("same", path)
        assert path.stat().st_ino == before
        save_text("other", path)
        assert path.stat().st_ino != before

    def test_json_is_sorted_and_knows_our_records(self, tmp_path):
        @dataclass(frozen=True)
        class Choice:
            steps: int
            where: Path

        class Unit(Enum):
            MM = "mm"

        content = {
            "z": Choice(6, Path("a/b")),
            "a": np.float32(0.5),
            "m": [np.nan, np.array([1, 2]), Unit.MM, True, None],
            "ü": (),
        }
        save_json(content, tmp_path / "a.json")
        text = (tmp_path / "a.json").read_text(encoding="utf-8")
        assert json.loads(text) == {
            "a": 0.5,
            "m": [None, [1, 2], "mm", True, None],
            "z": {"steps": 6, "where": "a/b"},
            "ü": [],
        }
        assert text.startswith('{\n  "a": 0.5')
        assert text.endswith("}\n")

    @pytest.mark.parametrize("value", [float("inf"), object(), b"bytes"])
    def test_json_refuses_what_it_cannot_hold(self, tmp_path, value):
        with pytest.raises(DataError, match=r"a\.json must hold what JSON can hold"):
            save_json({"a": value}, tmp_path / "a.json")
        assert list(tmp_path.iterdir()) == []


def test_text_that_another_run_swept_away_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, swept = Path.write_bytes, []

    def write_and_lose(self: Path, content: bytes) -> int:
        n_bytes = write(self, content)
        if len(swept) < 2:
            sweep(self.parent, None)
            swept.append(self)
        return n_bytes

    monkeypatch.setattr(Path, "write_bytes", write_and_lose)
    save_text("kept", tmp_path / "a.txt")
    assert len(swept) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "kept"


class TestVolumes:
    def test_an_image_comes_back_with_its_sidecar(self, tmp_path):
        data = np.arange(120, dtype=np.float32).reshape(OBLIQUE.shape)
        path = tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
        save_volume(Volume(data, OBLIQUE), path, {"Resolution": "1 mm"})
        back = read_volume(path)
        assert np.array_equal(back.data, data)
        assert back.space.matches(OBLIQUE, tolerance_mm=1e-4)
        assert json.loads(path.with_name("sub-01_T1w.json").read_text()) == {"Resolution": "1 mm"}
        assert len(list(path.parent.iterdir())) == 2

    def test_structures_are_written_with_freesurfer_codes(self, tmp_path):
        labels = np.zeros(OBLIQUE.shape, np.uint8)
        labels.flat[:35] = np.arange(35)
        path = tmp_path / "sub-01_seg-SegAnat_dseg.nii.gz"
        save_structures(Volume(labels, OBLIQUE), path, {})
        written = read_volume(path).data
        assert written.flat[:35].tolist() == [structure.freesurfer for structure in structures()]
        table = pd.read_csv(tmp_path / "sub-01_seg-SegAnat_dseg.tsv", sep="\t").set_index("index")
        assert list(table.columns) == ["name", "abbreviation", "color", "mapping"]
        assert set(written.flat) == set(table.index)
        assert table.loc[17, "name"] == "Left Hippocampus"
        assert table["mapping"].loc[[0, 3, 41, 4, 10, 16, 8]].tolist() == [0, 8, 2, 3, 9, 10, 11]

    @pytest.mark.parametrize("value", [-1, 35])
    def test_labels_that_are_not_seganat_are_refused(self, tmp_path, value):
        labels = np.full(OBLIQUE.shape, value, np.int16)
        with pytest.raises(DataError, match="SegAnat labels must be 0 to 34"):
            save_structures(Volume(labels, OBLIQUE), tmp_path / "a_dseg.nii.gz", {})

    def test_a_lesion_without_a_row_is_refused(self, tmp_path):
        labels = np.zeros(OBLIQUE.shape, np.int16)
        labels[0, 0, :3] = [1, 2, 3]
        path = tmp_path / "a_dseg.nii.gz"
        save_labels(Volume(labels, OBLIQUE), lesion_lookup([1, 2, 3]), path, {"Resolution": "1 mm"})
        assert (tmp_path / "a_dseg.tsv").read_text().splitlines()[1] == "1\tLesion 1\tL1\t#d62728\t7"
        with pytest.raises(DataError, match=r"must be named in its table, \[2\] are not"):
            save_labels(Volume(labels, OBLIQUE), lesion_lookup([1, 3]), path, {})
        with pytest.raises(DataError, match="a lookup table must have the columns"):
            save_labels(Volume(labels, OBLIQUE), lesion_lookup([1]).drop(columns="name"), path, {})

    def test_no_lesion_at_all_is_a_table_without_rows(self, tmp_path):
        labels = Volume(np.zeros(OBLIQUE.shape, np.uint8), OBLIQUE)
        save_labels(labels, lesion_lookup([]), tmp_path / "a_dseg.nii.gz", {})
        assert (tmp_path / "a_dseg.tsv").read_text() == "index\tname\tabbreviation\tcolor\tmapping\n"

    def test_every_structure_has_its_own_code(self):
        assert structure_lookup()["index"].is_unique


class TestTables:
    TABLE = pd.DataFrame(
        {
            "session": ["01", "02", None],
            "volume_mm3": [1 / 3, np.nan, 1234567.8],
            "n_voxels": [1, 2, 3],
            "is_folded": [True, False, True],
            "shift_mm": [-0.0, 1e-9, np.inf],
            "note": ["two\twords\n", "", "ü"],
        }
    )
    COLUMNS = {name: f"What {name} means." for name in (*TABLE.columns, "absent")}  # noqa: RUF012

    def test_bytes_are_as_written_by_hand(self, tmp_path):
        save_table(self.TABLE, tmp_path / "a.tsv", self.COLUMNS)
        assert (tmp_path / "a.tsv").read_bytes().decode() == (
            "session\tvolume_mm3\tn_voxels\tis_folded\tshift_mm\tnote\n"
            "01\t0.333333\t1\ttrue\t0\ttwo words\n"
            "02\tn/a\t2\tfalse\t1e-09\tn/a\n"
            "n/a\t1.23457e+06\t3\ttrue\tinf\tü\n"
        )

    def test_each_column_has_a_description_and_a_unit(self, tmp_path):
        save_table(self.TABLE, tmp_path / "a.tsv", self.COLUMNS)
        notes = json.loads((tmp_path / "a.json").read_text())
        assert notes["volume_mm3"] == {"Description": "What volume_mm3 means.", "Units": "mm^3"}
        assert notes["shift_mm"]["Units"] == "mm"
        assert notes["n_voxels"]["Units"] == "1"
        assert notes["session"]["Format"] == "string"
        assert "absent" not in notes

    @pytest.mark.parametrize(
        ("name", "unit"),
        [
            ("hd_mm_mean", "mm"),
            ("volume_ml", "mL"),
            ("ndv_percent", "%"),
            ("n_s_shaped_mm2", "mm^2"),
            ("dice", "1"),
        ],
    )
    def test_a_name_tells_the_unit(self, tmp_path, name, unit):
        save_table(pd.DataFrame({name: [1.0]}), tmp_path / "a.tsv", {name: "A number."})
        assert json.loads((tmp_path / "a.json").read_text())[name]["Units"] == unit

    def test_text_has_no_unit_and_no_rows_promise_nothing(self, tmp_path):
        table = pd.DataFrame({"where_mm": pd.Series([], dtype=object)})
        save_table(table, tmp_path / "a.tsv", {"where_mm": "Empty."})
        assert json.loads((tmp_path / "a.json").read_text()) == {"where_mm": {"Description": "Empty."}}
        numbers = pd.DataFrame({"where_mm": [None, 1.5, 2]}, dtype=object)
        save_table(numbers, tmp_path / "b.tsv", {"where_mm": "Some."})
        assert load_table(tmp_path / "b.tsv")["where_mm"].tolist()[1:] == [1.5, 2.0]

    def test_a_table_comes_back_with_labels_as_text(self, tmp_path):
        save_table(self.TABLE, tmp_path / "a.tsv", self.COLUMNS)
        back = load_table(tmp_path / "a.tsv")
        assert back["session"].tolist()[:2] == ["01", "02"]
        assert back["session"].isna().tolist() == [False, False, True]
        assert back["is_folded"].dtype == bool
        assert np.allclose(back["volume_mm3"], self.TABLE["volume_mm3"], rtol=1e-5, equal_nan=True)
        assert back["shift_mm"][2] == np.inf

    @given(st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=5))
    def test_reading_and_writing_again_changes_no_byte(self, values):
        table = pd.DataFrame({"value": values})
        text = save._tsv(table)
        again = pd.DataFrame({"value": [float(cell) for cell in text.split()[1:]]})
        assert save._tsv(again) == text

    def test_rounding_hides_the_last_digits(self):
        first, second = pd.DataFrame({"a": [0.1 + 0.2]}), pd.DataFrame({"a": [0.3]})
        assert save._tsv(first) == save._tsv(second)

    def test_an_empty_table_keeps_its_columns(self, tmp_path):
        save_table(self.TABLE.iloc[:0], tmp_path / "a.tsv", self.COLUMNS)
        assert list(load_table(tmp_path / "a.tsv").columns) == list(self.TABLE.columns)
        assert len(load_table(tmp_path / "a.tsv")) == 0

    def test_a_column_nobody_describes_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"every column of a\.tsv must be described, \['note'\] are not"):
            save_table(self.TABLE[["n_voxels", "note"]], tmp_path / "a.tsv", {"n_voxels": "Voxels."})

    def test_a_missing_table_is_named(self, tmp_path):
        with pytest.raises(MissingInputError, match=r"no table at .*run the participant level first"):
            load_table(tmp_path / "a.tsv")

    @pytest.mark.parametrize(
        ("table", "notes"),
        [(b"", "{}"), (b"a\tb\n1\t2\n1\t2\t3\n", "{}"), (b"a\n1\n", "{"), (b"a\n1\n", '{"a": 1}')],
    )
    def test_a_damaged_table_is_refused(self, tmp_path, table, notes):
        (tmp_path / "a.tsv").write_bytes(table)
        (tmp_path / "a.json").write_text(notes)
        with pytest.raises(DataError, match="no table of this app, or a damaged one"):
            load_table(tmp_path / "a.tsv")
