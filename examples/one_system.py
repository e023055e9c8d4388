"""One system over the ranks of MPI: mpiexec -n 2 python -m mpi4py examples/one_system.py."""

import hashlib

from mpi4py import MPI

import chaosphere as cs

model = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=4.0), mlp=cs.MLP(width=64, activation="tanh"), depth=20, horizon=1.0
)
sol = cs.simulate(
    model,
    cs.sample_uniform(10_000, 3, rng=0),
    rng=0,
    comm=MPI.COMM_WORLD,
    n_threads=1,
    checkpoint=cs.Checkpoint(path="one_system.npz", every_seconds=60),
)
if MPI.COMM_WORLD.Get_rank() == 0:
    print(f"{MPI.COMM_WORLD.Get_size()} ranks: {hashlib.sha256(sol.final.tobytes()).hexdigest()}")
