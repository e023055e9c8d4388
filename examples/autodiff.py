"""A run of chaosphere as a function that PyTorch and JAX differentiate.

`torch_run` and `jax_run` return such a function: from the initial tokens and parameters of a model to the final tokens.
The run itself, forward and backward, is that of chaosphere; the library differentiates what comes before and after it.

    python examples/autodiff.py

learns a value matrix V with which attention brings tokens to a given place. NumPy alone takes the first steps. With
PyTorch or JAX installed it then compares their gradients, through `torch_run` and `jax_run`, with those of NumPy.
"""

from importlib.util import find_spec

import numpy as np

import chaosphere as cs


def model(value):
    """The network whose value matrix is learnt: attention and random layers, ten times."""
    attention = cs.SoftmaxAttention(query=np.eye(3), key=np.eye(3), value=value)
    return cs.Transformer(attention=attention, mlp=cs.MLP(width=64, activation="tanh"), depth=10, horizon=1.0)


# What `cs.gradient` has for the arguments of `model`, in their order.
PARAMETERS = [("attention", "value")]


def needs(name):
    """Raise ImportError that says what to install, unless a library is there."""
    if find_spec(name) is None:
        raise ImportError(f"{name} cannot be imported: pip install {name}")


def pulled_back(make, arrays, cotangent, *, rng):
    """The gradient of Σ ⟨cotangent, final tokens⟩ in the tokens and the parameters, in the order of `arrays`."""
    x, *parameters = arrays
    result = cs.gradient(make(*parameters), x, lambda y: (0.0, cotangent), rng=rng)
    return [result.tokens, *(np.asarray(result.parameters[part][name]) for part, name in PARAMETERS[: len(parameters)])]


def torch_run(make, *, rng):
    """Return a function of torch tensors of float64: (x, *parameters) ↦ the final tokens of make(*parameters).

    In x the gradient is tangent to the sphere. For tokens x = z/|z| PyTorch makes that of z.
    """
    needs("torch")
    import torch

    class Run(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.save_for_backward(*tensors)
            x, *parameters = (tensor.detach().numpy() for tensor in tensors)
            return torch.from_numpy(np.array(cs.simulate(make(*parameters), x, rng=rng).final))

        @staticmethod
        def backward(ctx, cotangent):
            arrays = [tensor.detach().numpy() for tensor in ctx.saved_tensors]
            return tuple(map(torch.from_numpy, pulled_back(make, arrays, cotangent.numpy(), rng=rng)))

    return Run.apply


def jax_run(make, *, rng):
    """Return a function of JAX arrays of float64: (x, *parameters) ↦ the final tokens of make(*parameters).

    It may be part of what `jax.jit` compiles: chaosphere is called back. In x the gradient is tangent to the sphere.
    """
    needs("jax")
    import jax

    def forward(x, *parameters):
        def call(x, *parameters):
            return cs.simulate(make(*map(np.asarray, parameters)), np.array(x), rng=rng).final

        return jax.pure_callback(call, jax.ShapeDtypeStruct(x.shape, x.dtype), x, *parameters)

    def backward(arrays, cotangent):
        def call(cotangent, *arrays):
            return tuple(pulled_back(make, [np.array(a) for a in arrays], np.array(cotangent), rng=rng))

        shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
        return jax.pure_callback(call, shapes, cotangent, *arrays)

    run = jax.custom_vjp(forward)
    run.defvjp(lambda *arrays: (forward(*arrays), arrays), backward)
    return run


def loss(y, target):
    """Mean of 1 − ⟨y_i, target⟩ and its gradient in y, in NumPy."""
    return 1 - (y @ target).mean(), np.broadcast_to(-target / len(y), y.shape)


def learn(x, target, *, n_steps=30, rate=10.0, rng=0):
    """Descend the loss at the end of the run over the value matrix; return all losses and the last matrix."""
    value, losses = np.eye(3), []
    for _ in range(n_steps):
        result = cs.gradient(model(value), x, lambda y: loss(y, target), rng=rng)
        losses.append(result.value)
        value = value - rate * result.parameters["attention"]["value"]
    return losses, value


def torch_gradient(x, value, target, *, rng=0):
    """The gradients of the loss in tokens and value matrix by PyTorch."""
    run = torch_run(model, rng=rng)
    import torch

    z, v = (torch.tensor(array, requires_grad=True) for array in (x, value))
    y = run(z / z.norm(dim=1, keepdim=True), v)
    (1 - (y @ torch.tensor(target)).mean()).backward()
    return z.grad.numpy(), v.grad.numpy()


def jax_gradient(x, value, target, *, rng=0):
    """The gradients of the loss in tokens and value matrix by JAX, compiled."""
    run = jax_run(model, rng=rng)
    import jax
    import jax.numpy as jnp

    def of_all(z, v):
        return 1 - (run(z / jnp.linalg.norm(z, axis=1, keepdims=True), v) @ target).mean()

    with jax.enable_x64(True):
        return tuple(map(np.asarray, jax.jit(jax.grad(of_all, argnums=(0, 1)))(jnp.asarray(x), jnp.asarray(value))))


def main():
    """Learn by NumPy, and compare the libraries that are installed."""
    x, target = cs.sample_uniform(32, 3, rng=0), np.array([0.0, 0.6, 0.8])
    losses, value = learn(x, target)
    print(f"loss: {losses[0]:.4f} at first, {losses[-1]:.4f} after {len(losses)} steps")
    result = cs.gradient(model(value), x, lambda y: loss(y, target), rng=0)
    expected = result.tokens, result.parameters["attention"]["value"]
    for name, gradients_of in (("torch", torch_gradient), ("jax", jax_gradient)):
        if find_spec(name) is None:
            print(f"{name} is not installed")
            continue
        gradients = gradients_of(x, value, target)
        difference = max(abs(a - b).max() for a, b in zip(gradients, expected, strict=True))
        print(f"{name}: gradients differ by {difference:.1e} from those of chaosphere")


if __name__ == "__main__":
    main()
