"""Training steps of PyTorch, eager, compiled or replayed as a CUDA graph, and an epoch of them, as its users write them."""

from collections.abc import Callable

import jax
import torch
from torch import Tensor, nn

Step = Callable[[Tensor, int], Tensor]
"""(batch, number of the step) -> loss."""
WARM_UP = 3  # steps before a capture, as PyTorch's manual asks for


def device() -> str:
    """Return the device that JAX runs on, and set what GPU users set: TF32 products, as JAX has them, and tuned convolutions."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def minimise(model: nn.Module, *, compiled: bool = False, fused: bool = False, capturable: bool = False) -> Step:
    """Return the step of Adam on a model that returns the loss of a batch."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=fused or None, capturable=capturable)
    loss_of = torch.compile(model) if compiled else model

    def step(x: Tensor, number: int = 0) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def graphed(step: Step, example: Tensor) -> Step:
    """Return a step that replays its kernels as one CUDA graph. Its optimizers are `capturable`, and it ignores the number."""
    held = example.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step(held, 0)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(held, 0)

    def replay(x: Tensor, number: int = 0) -> Tensor:
        held.copy_(x)
        graph.replay()
        return loss

    return replay


def epoch_of(step: Step, data: Tensor, batch: int) -> Callable[[], float]:
    """Return a function that trains an epoch, in a new order each time; a step takes `batch` of the data's rows."""

    def run() -> float:
        for number, rows in enumerate(torch.randperm(len(data), device=data.device).view(-1, batch)):
            loss = step(data[rows], number)
        return loss.item()

    return run
