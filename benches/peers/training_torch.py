"""Training of an attention-only transformer as a user of PyTorch would write it: autograd, fused attention, AdamW.

It starts from the tokens, targets and parameters in a file that `training.py` writes, so that losses can be compared.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--start", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
options = parser.parse_args()
torch.set_num_threads(options.threads)
start = np.load(options.start)
x, targets = torch.from_numpy(start["x"]), torch.from_numpy(start["targets"])
depth, n_heads, _, dim = start["parameters"].shape
parameters = torch.from_numpy(start["parameters"].astype(start["x"].dtype))
layers = [[part.clone().requires_grad_() for part in layer.split(dim, dim=1)] for layer in parameters]
optimizer = torch.optim.AdamW(
    [part for layer in layers for part in layer],
    lr=float(start["learning_rate"]),
    eps=float(start["epsilon"]) / (depth * n_heads),
    weight_decay=float(start["weight_decay"]),
)


def forward(x):
    for query, key, value in layers:
        q, k = (torch.einsum("bnd,hkd->bhnk", x, matrix) for matrix in (query, key))
        v = x[:, None].expand(-1, n_heads, -1, -1)
        mean = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        x = torch.nn.functional.normalize(x + torch.einsum("bhnd,hed->bne", mean, value) / (depth * n_heads), dim=-1)
    return x


losses, seconds = [], []
for _ in range(options.steps):
    began = time.perf_counter()
    optimizer.zero_grad()
    loss = 0.5 * (forward(x).mean(dim=1) - targets).square().sum(dim=1).mean()
    loss.backward()
    if not losses:
        gradient = torch.stack([torch.cat([part.grad for part in layer], dim=1) for layer in layers]).numpy().copy()
    optimizer.step()
    losses.append(loss.item())
    seconds.append(time.perf_counter() - began)
np.savez(options.out, losses=losses, seconds=seconds, gradient=gradient)
