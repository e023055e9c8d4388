"""The phase diagram of arXiv:2312.10794 beside JAX:  python benches/phase_diagram.py [--dims 2 3 8 128] [--betas 90]

2 048 systems of 32 tokens take 300 steps for each value of β. The two alternate from one value to the next, and both
have run once before: JAX compiles a function for each β then. Printed are the times of all values, and their ratio.
"""

import argparse
import sys
import time
from dataclasses import replace

import registry
from registry import Case

registry.set_environment()

N_BETAS, LARGEST = 90, 9.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 3, 8, 128])
    parser.add_argument("--betas", type=int, default=N_BETAS, help="so many values of β, up to 9")
    parser.add_argument("--quick", action="store_true", help="few systems, steps and values: does it run?")
    arguments = parser.parse_args()
    import contenders  # after the threads are set

    names = [name for name in ("chaosphere", "jax") if name not in registry.absent()]
    sizes = {"n_replicas": 6, "depth": 3} if arguments.quick else {"n_replicas": 2048, "depth": 300}
    n_betas = 2 if arguments.quick else arguments.betas
    print("| d | " + " | ".join(f"{name}, s" for name in names) + " | ratio |\n|---" + "|---" * (len(names) + 1) + "|")
    for dim in arguments.dims[:1] if arguments.quick else arguments.dims:
        case = Case(n_tokens=32, dim=dim, horizon=sizes["depth"] / 10, **sizes)
        seconds = dict.fromkeys(names, 0.0)
        for k in range(n_betas):
            for name in names if k % 2 else reversed(names):
                run = contenders.get(name).phases(replace(case, beta=LARGEST * (k + 1) / n_betas))
                run()
                start = time.perf_counter()
                run()
                seconds[name] += time.perf_counter() - start
        cells = [f"{value:.3g}" for value in seconds.values()]
        print(f"| {dim} | " + " | ".join(cells) + f" | {seconds[names[-1]] / seconds[names[0]]:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
