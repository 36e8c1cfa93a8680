"""Positional encoding: attention by itself does not know the order of its input.

A positional encoding is one class with a row in the table `POSITIONS`. It may *add* to the embeddings (sinusoids, a
learned table), *rotate* queries and keys (rotary), or give a *bias* on the attention scores (ALiBi, relative); the
methods that it does not override leave everything as it is. Each stack has its own.

A sequence begins at position `start`, which may differ from row to row of the batch.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import ModelConfig
from zhuyi.model import kernels

Start = int | Int[Tensor, " batch"]
"""The first position of every row, or of each."""


class Positions(nn.Module):
    """No positional encoding, and the base class of all encodings.

    Args:
        config: sizes; positions 0 to `positions_limit` - 1 exist.
        causal: no query sees the keys after it, as in the decoder.
    """

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__()

    def add(self, x: Float[Tensor, "batch time width"], start: Start = 0) -> Float[Tensor, "batch time width"]:
        """Embeddings with their positions `start`, `start + 1`, ... added."""
        return x

    def rotate(
        self, heads: Float[Tensor, "batch heads time head_width"], start: Start = 0
    ) -> Float[Tensor, "batch heads time head_width"]:
        """Queries or keys rotated by their positions `start`, `start + 1`, ..."""
        return heads

    def bias(self, query: int, key: int, start: Start = 0) -> Float[Tensor, "#batch heads query key"] | None:
        """What is added to the scores of self-attention, if anything.

        Args:
            query: the number of queries, at the positions `start`, `start + 1`, ...
            key: the number of keys, at the positions 0, 1, ...
        """
        return None


def wavelengths(width: int) -> Float[Tensor, " half"]:
    """Positions per radian, 10000^(m / width) for m = 0, 2, 4, ... (Vaswani et al. 2017, section 3.5)."""
    return 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)


def rows_of(table: Float[Tensor, "max_length width"], start: Start, time: int) -> Float[Tensor, "*batch time width"]:
    """Rows `start`, `start + 1`, ... of a table of all positions; one slice for each row where `start` is a tensor."""
    if isinstance(start, int):
        return table[start : start + time]
    return table[start[:, None] + torch.arange(time, device=table.device)]


def tensor2tensor_wavelengths(width: int) -> Float[Tensor, " half"]:
    """Positions per radian, 10000^(i / (width / 2 - 1)) for i = 0, 1, ..., so that the last is 10000 itself.

    The authors' own program has these (Vaswani et al. 2018), and so have fairseq and Marian.
    """
    return 10000 ** (torch.arange((width + 1) // 2, dtype=torch.float64) / max((width + 1) // 2 - 1, 1))


def sinusoids(
    length: int, width: int, series: Callable[[int], Float[Tensor, " half"]] = wavelengths
) -> Float[Tensor, "length width"]:
    """sin and cos of each wavelength, side by side: column 2i is sin(position / wavelength i), 2i + 1 the cosine.

    Args:
        length: number of positions.
        width: of the vectors.
        series: from the width to the wavelengths.
    """
    angle = torch.arange(length, dtype=torch.float64)[:, None] / series(width)
    table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return table[:, :width].to(torch.get_default_dtype())


class Sinusoidal(Positions):
    """Adds fixed sinusoids, whose wavelengths are a geometric series (Vaswani et al. 2017, section 3.5)."""

    table: Tensor
    series = staticmethod(wavelengths)

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__(config, causal)
        table = sinusoids(config.positions_limit, config.width, self.series)
        self.register_buffer("table", table, persistent=False)

    def add(self, x: Float[Tensor, "batch time width"], start: Start = 0) -> Float[Tensor, "batch time width"]:
        """Add rows `start`, ... of the table."""
        return x + rows_of(self.table, start, x.shape[1]).to(x.dtype)


class Tensor2Tensor(Sinusoidal):
    """The same, but for the series of wavelengths: see `tensor2tensor_wavelengths`."""

    series = staticmethod(tensor2tensor_wavelengths)


class Learned(Positions):
    """Adds a vector learned for each position (Gehring et al. 2017, section 3.1)."""

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__(config, causal)
        self.table = nn.Parameter(torch.empty(config.positions_limit, config.width))
        nn.init.normal_(self.table, std=0.02)

    def add(self, x: Float[Tensor, "batch time width"], start: Start = 0) -> Float[Tensor, "batch time width"]:
        """Add rows `start`, ... of the table."""
        return x + rows_of(self.table, start, x.shape[1]).to(x.dtype)


class Rotary(Positions):
    """Rotates pairs of coordinates of queries and keys by angles that grow with the position (Su et al. 2021).

    A score between two positions then depends on their distance only. Coordinate i is paired with i + half.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__(config, causal)
        angle = torch.arange(config.positions_limit, dtype=torch.float64)[:, None] / wavelengths(config.head_width)
        cosine, sine = angle.cos().to(torch.get_default_dtype()), angle.sin().to(torch.get_default_dtype())
        self.register_buffer("cosine", torch.cat([cosine, cosine], dim=-1), persistent=False)
        self.register_buffer("sine", torch.cat([-sine, sine], dim=-1), persistent=False)

    def rotate(
        self, heads: Float[Tensor, "batch heads time head_width"], start: Start = 0
    ) -> Float[Tensor, "batch heads time head_width"]:
        """Rotate each head's vector at each position."""
        number, time = heads.shape[1:3]
        tables = (rows_of(table, start, time).to(heads.dtype).unsqueeze(-2) for table in (self.cosine, self.sine))
        cosine, sine = (table.expand(*table.shape[:-2], number, -1).contiguous() for table in tables)
        return kernels.rotate(heads, cosine, sine)


class ALiBi(Positions):
    """Lowers each score by the distance between query and key, times a slope of each head (Press et al. 2022).

    The slopes are 2^(-8/n), 2^(-16/n), ..., 2^-8 for n heads (section 3). Of the decoder's causal attention this is the
    paper's. The encoder also sees positions to the right, which the paper does not treat: there -slope · |i - j| lowers
    both sides alike, so the encoder knows distances but not directions.
    """

    slopes: Tensor

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__(config, causal)
        slopes = 2.0 ** (-8 * torch.arange(1, config.heads + 1, dtype=torch.float64) / config.heads)
        self.register_buffer("slopes", slopes.to(torch.get_default_dtype()), persistent=False)

    def bias(self, query: int, key: int, start: Start = 0) -> Float[Tensor, "#batch heads query key"]:
        """-slope · |i - j| for query i and key j."""
        first = torch.as_tensor(start, device=self.slopes.device).view(-1, 1, 1, 1)
        i = first + torch.arange(query, device=self.slopes.device)[:, None]
        j = torch.arange(key, device=self.slopes.device)
        return -self.slopes[:, None, None] * (i - j).abs()


class Relative(Positions):
    """Adds to each score a number learned for each head and distance (Raffel et al. 2020, section 2.1: T5).

    Distances share `BUCKETS` numbers: short ones have one each, longer ones share it with more and more of their
    neighbours up to `FARTHEST`, and all beyond that share one. Where queries see both sides, half of the buckets are
    for the keys after them. All layers of a stack have the same numbers.
    """

    BUCKETS = 32
    FARTHEST = 128

    buckets: Tensor

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__(config, causal)
        self.table = nn.Parameter(torch.empty(self.BUCKETS, config.heads))
        nn.init.normal_(self.table, std=config.width**-0.5)
        self.before = config.positions_limit - 1
        distances = torch.arange(-self.before, self.before + 1)  # of a key from its query
        self.register_buffer("buckets", self.buckets_of(distances, causal), persistent=False)

    @classmethod
    def buckets_of(cls, distances: Int[Tensor, " number"], causal: bool) -> Int[Tensor, " number"]:
        """The rows of the table for distances from a query to a key, below 0 where the key comes first."""
        buckets = cls.BUCKETS if causal else cls.BUCKETS // 2
        after = torch.zeros_like(distances) if causal else buckets * (distances > 0)
        distances = -distances.clamp(max=0) if causal else distances.abs()
        exact = buckets // 2
        octaves = torch.log(distances.clamp(min=exact).double() / exact) / math.log(cls.FARTHEST / exact)
        # As exact as logarithms are, 16 / 8 must not fall short of the bucket that it begins.
        far = exact + (octaves * (buckets - exact) + 1e-9).long()
        return after + torch.where(distances < exact, distances, far.clamp(max=buckets - 1))

    def bias(self, query: int, key: int, start: Start = 0) -> Float[Tensor, "#batch heads query key"]:
        """The numbers of the distances j - i for query i and key j."""
        first = torch.as_tensor(start, device=self.buckets.device).view(-1, 1, 1)
        i = first + torch.arange(query, device=self.buckets.device)[:, None]
        j = torch.arange(key, device=self.buckets.device)
        return F.embedding(self.buckets[j - i + self.before], self.table).permute(0, 3, 1, 2)


POSITIONS: dict[str, type[Positions]] = {
    "sinusoidal": Sinusoidal,
    "tensor2tensor": Tensor2Tensor,
    "learned": Learned,
    "rotary": Rotary,
    "alibi": ALiBi,
    "relative": Relative,
    "none": Positions,
}
