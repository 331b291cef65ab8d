"""Registered, the kernels are the operators of tensors on a GPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="needs triton")

from support_triton import ON_GPU, OPERATORS, TAPS, close, image, zeros_inserted_then_filtered

from src import ops  # noqa: F401  (defines the operators)
from src.ops.library import use_triton

pytestmark = pytest.mark.skipif(not ON_GPU or not use_triton(), reason="needs a GPU")


@pytest.mark.parametrize("name", OPERATORS)
def test_registered(name: str) -> None:
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"privface::{name}", "CUDA")


def test_derivatives() -> None:
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64, device="cuda", requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, device="cuda", requires_grad=True)

    def activated(x: Tensor, bias: Tensor) -> Tensor:
        filtered = torch.ops.privface.upfirdn2d(x, TAPS, TAPS, 2, 2, 1, 1, 2, 1, 2, 1)
        return torch.ops.privface.bias_leaky_relu(filtered, bias, 0.2, 1.4, 0.9)

    assert torch.autograd.gradcheck(activated, (x, bias))
    assert torch.autograd.gradgradcheck(activated, (x, bias))


@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck(channels_last: bool) -> None:
    x, bias = image(torch.float32, channels_last, 2, 4, 8, 8), torch.randn(4, device="cuda")
    operators = torch.ops.privface
    torch.library.opcheck(operators.upfirdn2d.default, (x.requires_grad_(), TAPS, TAPS, 1, 1, 2, 2, 1, 1, 1, 1))
    torch.library.opcheck(operators.bias_leaky_relu.default, (x, bias.requires_grad_(), 0.2, 1.4, -1.0))
    torch.library.opcheck(operators.bias_leaky_relu_gradient.default, (x, x.detach(), 0.2, 1.4, 1.0))


def test_the_stream_in_force_is_used() -> None:
    x, bias = torch.randn(64, 64, 128, 128, device="cuda"), torch.zeros(64, device="cuda")
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)
        doubled = x * 2
        found = torch.ops.privface.bias_leaky_relu(doubled, bias, 1.0, 1.0, -1.0)
    stream.synchronize()
    assert torch.equal(found, x * 2)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_device_than_the_current_one() -> None:
    x = torch.randn(2, 3, device="cuda:1")
    found = torch.ops.privface.bias_leaky_relu(x, torch.zeros(3, device="cuda:1"), 1.0, 1.0, -1.0)
    assert found.device == x.device
    assert torch.equal(found, x)


@pytest.mark.skipif(not ON_GPU or torch.cuda.mem_get_info()[0] < 20 * 2**30, reason="needs 20 GiB of memory on the GPU")
@pytest.mark.parametrize("channels_last", [False, True])
def test_more_elements_than_32_bits_count(channels_last: bool) -> None:
    x = torch.zeros(1, 2, 2**15 + 8, 2**15 + 8, dtype=torch.bfloat16, device="cuda")
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    x[:, :, -8:, -8:] = image(torch.bfloat16, False, 1, 2, 8, 8)
    corner = x[:, :, -12:, -12:].contiguous()
    found = torch.ops.privface.upfirdn2d(x, TAPS, TAPS, 1, 1, 1, 1, 2, 1, 2, 1)
    expected = zeros_inserted_then_filtered(corner, TAPS, TAPS, 1, 1, 1, 1, 2, 1, 2, 1)
    assert close(found[:, :, -8:, -8:], expected[:, :, -8:, -8:])
    bias = TAPS[:2].to(x)
    found = torch.ops.privface.bias_leaky_relu(x, bias, 0.2, 1.0, -1.0)
    assert close(found[:, :, -8:, -8:], F.leaky_relu(corner + bias.view(2, 1, 1), 0.2)[:, :, -8:, -8:])
