"""An image brings its compiled kernels along; numba finds them where it can write."""

from pathlib import Path

import pytest

from bidsapp.execution import kernels
from bidsapp.execution.kernels import choose_processor, kernel_cache
from bidsapp.execution.resources import prepare_environment, scratch_folder

MODERN = "processor : 0\nflags : fpu sse2 avx2 bmi1 bmi2 f16c fma abm movbe avx512f\n"


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Act as an image with one kernel, on a processor of today."""
    baked = tmp_path / "image"
    (baked / "compiled_1").mkdir(parents=True)
    (baked / "compiled_1" / "smooth.nbi").write_text("an index")
    (baked / "compiled_1" / "smooth.1.nbc").write_text("a kernel")
    monkeypatch.setattr(kernels, "BAKED", baked)
    (tmp_path / "cpuinfo").write_text(MODERN)
    monkeypatch.setattr(kernels, "_CPUINFO", tmp_path / "cpuinfo")
    return baked


def test_kernels_of_the_image_are_lent_once_and_whole(image: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for path in (image, *image.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    lent = kernel_cache(scratch)
    assert (lent / "compiled_1" / "smooth.1.nbc").read_text() == "a kernel"
    (lent / "compiled_1" / "smooth.2.nbc").write_text("compiled later")
    assert kernel_cache(scratch) == lent
    assert (lent / "compiled_1" / "smooth.2.nbc").exists()
    assert list(scratch.iterdir()) == [lent]


def test_another_image_lends_its_own_kernels(image: Path, tmp_path: Path) -> None:
    first = kernel_cache(tmp_path)
    (image / "compiled_1" / "smooth.nbi").write_text("an index of other code")
    assert kernel_cache(tmp_path) != first


def test_without_an_image_numba_starts_with_an_empty_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "BAKED", tmp_path / "nowhere")
    assert kernel_cache(tmp_path) == tmp_path / "numba"
    environment: dict[str, str] = {}
    choose_processor(environment)
    assert environment == {}


@pytest.mark.usefixtures("image")
def test_in_an_image_kernels_are_for_processors_of_the_last_ten_years() -> None:
    environment: dict[str, str] = {}
    choose_processor(environment)
    assert environment == {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    environment = {"NUMBA_CPU_NAME": "generic"}
    choose_processor(environment)
    assert environment == {"NUMBA_CPU_NAME": "generic"}


@pytest.mark.parametrize("cpuinfo", [MODERN.replace(" avx2", ""), "Features : fp asimd\n", ""])
@pytest.mark.usefixtures("image")
def test_other_processors_get_code_for_themselves(tmp_path: Path, cpuinfo: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    environment: dict[str, str] = {}
    choose_processor(environment)
    assert environment == {}


@pytest.mark.usefixtures("image")
def test_a_run_in_the_image_uses_them(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    prepare_environment(environment, work_dir=tmp_path / "work", n_threads=1)
    lent = Path(environment["NUMBA_CACHE_DIR"])
    assert lent.parent == scratch_folder(environment)
    assert (lent / "compiled_1" / "smooth.nbi").read_text() == "an index"
