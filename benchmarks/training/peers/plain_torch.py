"""`torch.nn.Transformer` as a student writes it: batches of random sentences, torch's defaults, float32."""

import math

import torch
from peers.common import BETAS, BOS, EOS, EPSILON, PAD, SENTENCES, SMOOTHING, Corpus, Meter, Run, TimeUp, arguments, pad
from torch import nn
from torch.utils.data import DataLoader


class Translation(nn.Module):
    def __init__(self, run: Run, vocabulary: int) -> None:
        super().__init__()
        size = run.sizes
        self.embedding = nn.Embedding(vocabulary, size.width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)
        self.dropout = nn.Dropout(size.dropout)
        layers = (size.heads, size.layers, size.layers, size.feed_forward, size.dropout)
        self.transformer = nn.Transformer(size.width, *layers, batch_first=True)
        self.output = nn.Linear(size.width, vocabulary, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("positions", sinusoids(512, size.width))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        scaled = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        return self.dropout(scaled + self.positions[: ids.shape[1]])

    def encode(self, source: torch.Tensor) -> torch.Tensor:
        return self.transformer.encoder(self.embed(source), src_key_padding_mask=source == PAD)

    def decode(self, target: torch.Tensor, memory: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool, device=target.device).triu(1)
        return self.transformer.decoder(
            self.embed(target),
            memory,
            tgt_mask=causal,
            tgt_is_causal=True,
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.output(self.decode(target, self.encode(source), source))


def sinusoids(length: int, width: int) -> torch.Tensor:
    angles = torch.arange(length)[:, None] * torch.exp(-math.log(10000) * torch.arange(0, width, 2) / width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def translate(model: Translation, corpus: Corpus, device: str) -> list[list[str]]:
    """The dev set, greedily; the whole prefix is computed again for each piece."""
    model.eval()
    answers = []
    with torch.no_grad():
        for first in range(0, len(corpus.dev), 100):
            lines = corpus.dev[first : first + 100]
            source = pad([[*line, EOS] for line in lines], device)
            memory = model.encode(source)
            target = torch.full((len(lines), 1), BOS, device=device)
            done = torch.zeros(len(lines), dtype=torch.bool, device=device)
            for _ in range(2 * source.shape[1] + 10):
                best = model.output(model.decode(target, memory, source)[:, -1]).argmax(-1).masked_fill(done, EOS)
                target = torch.cat((target, best[:, None]), dim=1)
                done |= best == EOS
                if done.all():
                    break
            answers += [[corpus.vocabulary[i] for i in row if i > EOS] for row in target.tolist()]
    model.train()
    return answers


def main() -> None:
    run = arguments()
    corpus = Corpus(run.data)
    model = Translation(run, len(corpus.vocabulary)).to(run.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=run.rate, betas=BETAS, eps=EPSILON)
    loss_of = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=SMOOTHING)
    meter = Meter(run, (lambda: translate(model, corpus, run.device)) if run.is_curve else None)

    def collate(pairs: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        source = pad([[*corpus.source[i], EOS] for i in pairs], run.device)
        return source, pad([[BOS, *corpus.target[i], EOS] for i in pairs], run.device)

    loader = DataLoader(range(len(corpus.source)), batch_size=SENTENCES, shuffle=True, collate_fn=collate)
    model.train()
    try:
        while True:
            for source, target in loader:
                inputs, answers = target[:, :-1], target[:, 1:]
                logits = model(source, inputs)
                loss = loss_of(logits.reshape(-1, logits.shape[-1]), answers.reshape(-1))
                optimizer.zero_grad()
                loss.backward()
                for group in optimizer.param_groups:
                    group["lr"] = run.learning_rate(meter.share)
                optimizer.step()
                meter.count((source != PAD).sum(), (answers != PAD).sum(), source.numel() + answers.numel())
                meter.step()
    except TimeUp:
        flags = f"{SENTENCES} random sentences, Adam, tied embeddings"
        meter.report(sum(weight.numel() for weight in model.parameters()), "float32", flags)


if __name__ == "__main__":
    main()
