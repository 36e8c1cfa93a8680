"""Positional encoding: attention by itself does not know the order of its input.

Four ways, one a class, in the table `POSITIONS`. A way may *add* to the embeddings (sinusoidal,
learned) or *rotate* queries and keys (rotary); what it does not do is the identity.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zhuyi.model import kernels


class Positions(nn.Module):
    """No positions at all, and the base of those that are.

    Args:
        width: d_model, of the embeddings.
        head_width: width of one attention head.
        max_length: positions that exist.
    """

    def __init__(self, width: int, head_width: int, max_length: int) -> None:
        super().__init__()

    def add(self, x: Float[Tensor, "batch time width"], start: int = 0) -> Float[Tensor, "batch time width"]:
        """Embeddings with their positions `start`, `start + 1`, ... added."""
        return x

    def rotate(
        self, heads: Float[Tensor, "batch heads time head_width"], start: int = 0
    ) -> Float[Tensor, "batch heads time head_width"]:
        """Queries or keys turned by their positions `start`, `start + 1`, ..."""
        return heads


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """sin and cos of geometrically spaced wavelengths, side by side (Vaswani et al. 2017, section 3.5).

    Column 2i is sin(position / 10000^(2i / width)), column 2i + 1 the cosine.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return table[:, :width].to(torch.get_default_dtype())


class Sinusoidal(Positions):
    """Adds fixed sinusoids (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, width: int, head_width: int, max_length: int) -> None:
        super().__init__(width, head_width, max_length)
        self.register_buffer("table", sinusoids(max_length, width), persistent=False)

    def add(self, x: Float[Tensor, "batch time width"], start: int = 0) -> Float[Tensor, "batch time width"]:
        """Add rows `start`, ... of the table."""
        return x + self.table[start : start + x.shape[1]].to(x.dtype)


class Learned(Positions):
    """Adds a vector learned for each position (Gehring et al. 2017, section 3.1)."""

    def __init__(self, width: int, head_width: int, max_length: int) -> None:
        super().__init__(width, head_width, max_length)
        self.table = nn.Parameter(torch.empty(max_length, width))
        nn.init.normal_(self.table, std=0.02)

    def add(self, x: Float[Tensor, "batch time width"], start: int = 0) -> Float[Tensor, "batch time width"]:
        """Add rows `start`, ... of the table."""
        return x + self.table[start : start + x.shape[1]].to(x.dtype)


class Rotary(Positions):
    """Turns pairs of coordinates of queries and keys by angles that grow with the position (Su et al. 2021).

    A score between two positions then depends on their distance only. Coordinate i is paired with i + half.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, width: int, head_width: int, max_length: int) -> None:
        super().__init__(width, head_width, max_length)
        position = torch.arange(max_length, dtype=torch.float64)[:, None]
        angle = position / 10000 ** (torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
        cosine, sine = angle.cos().to(torch.get_default_dtype()), angle.sin().to(torch.get_default_dtype())
        self.register_buffer("cosine", torch.cat([cosine, cosine], dim=-1), persistent=False)
        self.register_buffer("sine", torch.cat([-sine, sine], dim=-1), persistent=False)

    def rotate(
        self, heads: Float[Tensor, "batch heads time head_width"], start: int = 0
    ) -> Float[Tensor, "batch heads time head_width"]:
        """Turn each head's vector at each position."""
        time, number = heads.shape[2], heads.shape[1]
        cosine, sine = (
            table[start : start + time, None].to(heads.dtype).expand(-1, number, -1).contiguous()
            for table in (self.cosine, self.sine)
        )
        return kernels.rotate(heads, cosine, sine)


POSITIONS: dict[str, type[Positions]] = {
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "rotary": Rotary,
    "none": Positions,
}
