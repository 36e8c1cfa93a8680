"""The matrix-product ceiling of the machine, now: prints GFLOP/s in float32 and in bf16 as one line of JSON."""

import argparse
import json
import time

import torch


def product_rate(dtype: torch.dtype, device: str, size: int) -> float:
    """The best of ten products of square matrices, in GFLOP/s."""
    a = torch.randn(size, size, device=device).to(dtype)
    a @ a
    seconds = []
    for _ in range(10):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    side = 2048 if arguments.device == "cpu" else 8192
    rates = {
        name: product_rate(dtype, arguments.device, side)
        for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16))
    }
    print(json.dumps(rates))
