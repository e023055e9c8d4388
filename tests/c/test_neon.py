"""The C library for 64-bit Arm, cross-compiled and run by QEMU: NEON, and as slow cases the baseline."""

import os
import shutil

import pytest
from support.builds import build_settings
from test_sanitizers import HERE, MAINS, TYPES, compile_c, compile_library, run

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
HAS_TOOLS = shutil.which(COMPILER) is not None and shutil.which(EMULATOR) is not None
# .ci/run sets the variable once it has installed both.
pytestmark = pytest.mark.skipif(
    not HAS_TOOLS and not os.environ.get("CHAOSPHERE_REQUIRE_NEON"), reason=f"needs {COMPILER} and {EMULATOR}"
)
LONG = [(main, "f32") for main in ("test_attention", "test_tangent")]
LONG += [(main, kind) for main in ("test_potential", "test_expansions") for kind in TYPES]


@pytest.fixture(scope="module", params=["neon", pytest.param("baseline", marks=pytest.mark.slow)])
def library(request, tmp_path_factory):
    """An instruction set, and the object files of the library for it."""
    folder = tmp_path_factory.mktemp("arm")
    several = {"settings": build_settings(), "only": request.param, "machine": "aarch64"}
    return request.param, compile_library(folder, ["-O1"], compiler=COMPILER, **several)


@pytest.mark.parametrize(
    ("main", "kind"),
    [pytest.param(main, kind, marks=[pytest.mark.slow] * ((main, kind) in LONG)) for main in MAINS for kind in TYPES],
)
def test_library_on_arm(library, tmp_path, main, kind):
    isa, objects = library
    sources = [HERE / f"{main}.c", *objects, "-lm"]
    compile_c(sources, tmp_path / main, "-O1", "-DIS_EMULATED", f'-DONLY="{isa}"', *TYPES[kind], compiler=COMPILER)
    assert shutil.which(EMULATOR), f"{EMULATOR} is needed here"
    result = run([EMULATOR, tmp_path / main], QEMU_LD_PREFIX="/usr/aarch64-linux-gnu")
    assert result.returncode == 0, result.stderr[:5000]
    assert result.stdout.split() == [isa]
