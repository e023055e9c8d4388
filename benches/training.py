"""Steps of a training against the same in PyTorch:  python benches/training.py [--passes 3] [--dtype float64] [--quick]

Both start from the same tokens and parameters, N = 256, d = 16, L = 64, H = 16, and their gradients and losses are
compared before a time is printed. Each runs in a process of its own, in passes with rotating order; the time is that of
a step, the first of each process left out.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import registry

HERE = Path(__file__).resolve().parent
LEARNING_RATE, EPSILON, WEIGHT_DECAY = 0.02, 1e-6, 0.01


def write_start(path: Path, *, is_quick: bool, dtype: str) -> None:
    """Write what both start from."""
    import numpy as np

    import chaosphere as cs

    n_tokens, dim, depth, n_heads = (32, 4, 4, 2) if is_quick else (256, 16, 64, 16)
    x = cs.sample_uniform(n_tokens, dim, rng=0)[None].astype(dtype)
    network = cs.training.AttentionNetwork(depth=depth, n_heads=n_heads, dim=dim)
    several = {"learning_rate": LEARNING_RATE, "epsilon": EPSILON, "weight_decay": WEIGHT_DECAY}
    np.savez(path, x=x, targets=0.5 * np.eye(dim, dtype=dtype)[:1], parameters=network.initial(0), **several)


def run_ours(start: Path, out: Path, n_steps: int) -> None:
    """Train with chaosphere, a step at a time."""
    import time

    import numpy as np

    import chaosphere as cs

    with np.load(start) as file:
        x, targets, parameters = (file[name] for name in ("x", "targets", "parameters"))
    depth, n_heads, _, dim = parameters.shape
    network = cs.training.AttentionNetwork(depth=depth, n_heads=n_heads, dim=dim)
    loss = cs.training.MeanRegression(targets=targets)
    adamw = cs.training.AdamW(learning_rate=LEARNING_RATE, epsilon=EPSILON, weight_decay=WEIGHT_DECAY)
    state, losses, seconds = adamw.start(parameters), [], []
    for _ in range(n_steps):
        began = time.perf_counter()
        result = network.gradient(state.parameters, x, objective=loss, n_threads=registry.THREADS)
        state = adamw.step(state, result.parameters, n_units=network.n_units)
        losses.append(result.value)
        seconds.append(time.perf_counter() - began)
        if len(losses) == 1:
            gradient = result.parameters
    np.savez(out, losses=losses, seconds=seconds, gradient=gradient)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ours", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    registry.set_environment()
    if options.ours:
        run_ours(*options.ours, options.steps)
        return
    import numpy as np

    seconds: dict[str, list[float]] = {"chaosphere": [], "torch": []}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder, "start.npz")
        write_start(start, is_quick=options.quick, dtype=options.dtype)
        for number in range(options.passes):
            losses, gradients = {}, {}
            for contender in ("chaosphere", "torch")[:: 1 if number % 2 else -1]:
                out = Path(folder, f"{contender}.npz")
                steps = ["--steps", str(options.steps)]
                words = [str(HERE / "training.py"), *steps, "--ours", str(start), str(out)]
                if contender == "torch":
                    words = [str(HERE / "peers" / "training_torch.py"), *steps, "--threads", str(registry.THREADS)]
                    words += ["--start", str(start), "--out", str(out)]
                subprocess.run([sys.executable, *words], timeout=registry.TIMEOUT, check=True)
                with np.load(out) as file:
                    losses[contender], gradients[contender] = file["losses"], file["gradient"]
                    seconds[contender] += list(file["seconds"][1:])
            tolerance = 1e-9 if options.dtype == "float64" else 1e-3
            assert np.allclose(losses["chaosphere"], losses["torch"], rtol=tolerance), losses
            error = abs(gradients["chaosphere"] - gradients["torch"]).max() / abs(gradients["torch"]).max()
            assert error < tolerance, error
    for contender, values in seconds.items():
        print(f"{contender:>12}: {min(values):.3f} s a step at best, {statistics.median(values):.3f} s in the median")
    ratios = [min(seconds["torch"]) / min(seconds["chaosphere"])]
    ratios += [statistics.median(seconds["torch"]) / statistics.median(seconds["chaosphere"])]
    print(
        f"chaosphere is {ratios[0]:.2f} and {ratios[1]:.2f} times as fast, {options.dtype}, {registry.THREADS} threads"
    )


if __name__ == "__main__":
    main()
