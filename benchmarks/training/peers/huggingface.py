"""Hugging Face Transformers: a Marian model, trained by Seq2SeqTrainer or by a loop of one's own.

hf-trainer               Seq2SeqTrainer as shipped: random batches of sentences
hf-trainer-grouped[-bf16]  the same, with train_sampling_strategy="group_by_length"
hf-hand[-bf16]             sentences of like length within the budget of tokens, fused AdamW
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from peers.common import (
    BETAS,
    BOS,
    EOS,
    EPSILON,
    PAD,
    SENTENCES,
    SMOOTHING,
    Corpus,
    Meter,
    Run,
    TimeUp,
    after_each_update,
    arguments,
    leave,
    pad,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.nn import functional as F
from transformers import (
    DataCollatorForSeq2Seq,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)


def make_model(run: Run, vocabulary: int) -> MarianMTModel:
    size = run.sizes
    config = MarianConfig(
        vocab_size=vocabulary,
        d_model=size.width,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=size.feed_forward,
        decoder_ffn_dim=size.feed_forward,
        activation_function="relu",
        dropout=size.dropout,
        scale_embedding=True,
        init_std=size.width**-0.5,
        max_position_embeddings=512,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        forced_eos_token_id=None,
        decoder_start_token_id=BOS,
    )
    return MarianMTModel(config).to(run.device)


def choose_attention(model: MarianMTModel, step: Callable[[], Any], device: str) -> str:
    """The faster implementation, by a trial of a few batches each."""
    seconds = {}
    for name in ("eager", "sdpa"):
        model.set_attn_implementation(name)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        seconds[name] = min(times)
    model.zero_grad()
    fastest = min(seconds, key=seconds.__getitem__)
    model.set_attn_implementation(fastest)
    return fastest


def translate(model: MarianMTModel, corpus: Corpus, products: AbstractContextManager[Any]) -> list[list[str]]:
    """The dev set, greedily, by `generate`; lines of like length together."""
    model.eval()
    answers: list[list[str]] = [[] for _ in corpus.dev]
    order = sorted(range(len(corpus.dev)), key=lambda i: len(corpus.dev[i]))
    for first in range(0, len(order), 100):
        lines = order[first : first + 100]
        source = pad([[*corpus.dev[i], EOS] for i in lines], str(model.device))
        with torch.inference_mode(), products:
            found = model.generate(
                input_ids=source,
                attention_mask=source != PAD,
                num_beams=1,
                do_sample=False,
                max_new_tokens=2 * source.shape[1] + 10,
            )
        for i, row in zip(lines, found.tolist(), strict=True):
            answers[i] = [corpus.vocabulary[token] for token in row if token > EOS]
    model.train()
    return answers


def by_hand(run: Run, corpus: Corpus, model: MarianMTModel, bf16: bool) -> None:
    products = torch.autocast(run.device, torch.bfloat16, enabled=bf16)
    batches = corpus.batches(run.tokens, run.seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=BETAS, eps=EPSILON, weight_decay=0.01, fused=True)

    def loss_of(pairs: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        source = pad([[*corpus.source[i], EOS] for i in pairs], run.device)
        answers = pad([[*corpus.target[i], EOS] for i in pairs], run.device)
        inputs = pad([[BOS, *corpus.target[i]] for i in pairs], run.device)
        with products:
            logits = model(
                input_ids=source, attention_mask=source != PAD, decoder_input_ids=inputs, use_cache=False
            ).logits
            loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=PAD, label_smoothing=SMOOTHING)
        return loss, source, answers

    model.train()
    some = next(batches)
    attention = choose_attention(model, lambda: loss_of(some)[0].backward(), run.device)
    meter = Meter(run, (lambda: translate(model, corpus, products)) if run.is_curve else None)
    try:
        for pairs in batches:
            loss, source, answers = loss_of(pairs)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = run.learning_rate(meter.share)
            optimizer.step()
            optimizer.zero_grad()
            meter.count((source != PAD).sum(), (answers != PAD).sum(), source.numel() + answers.numel())
            meter.step()
    except TimeUp:
        report(meter, model, bf16, f"buckets by length, {attention} attention, fused AdamW")


def by_trainer(run: Run, corpus: Corpus, model: MarianMTModel, bf16: bool, grouped: bool) -> None:
    words = Tokenizer(WordLevel({piece: i for i, piece in enumerate(corpus.vocabulary)}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    pairs = [
        {"input_ids": [*source, EOS], "labels": [*target, EOS]}
        for source, target in zip(corpus.source, corpus.target, strict=True)
    ]
    settings = Seq2SeqTrainingArguments(
        output_dir=str(run.scratch),
        per_device_train_batch_size=SENTENCES,
        label_smoothing_factor=SMOOTHING,
        train_sampling_strategy="group_by_length" if grouped else "random",
        bf16=bf16,
        use_cpu=run.device == "cpu",
        max_steps=10**6,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=run.seed,
    )
    collator = DataCollatorForSeq2Seq(tokenizer, model=model)
    trainer = Seq2SeqTrainer(model, settings, train_dataset=pairs, data_collator=collator)
    meter = Meter(run, cycle=mega_batch(len(pairs)) if grouped else 1)

    def count(_: Any, __: Any, batch: dict[str, torch.Tensor]) -> None:
        source, target = batch["attention_mask"], batch["decoder_input_ids"]
        # The inputs are the labels one place later, so EOS is only in rows with room for it; BOS is counted instead.
        used = (target != PAD) & (target != EOS)
        meter.count(source.sum(), used.sum(), source.numel() + target.numel())

    model.register_forward_pre_hook(count, with_kwargs=True)
    after_each_update(meter)
    try:
        trainer.train()
    except TimeUp:
        order = "grouped by length" if grouped else "random"
        report(meter, model, bf16, f"{SENTENCES} sentences, {order}, {model.config._attn_implementation} attention")
        leave()


def mega_batch(pairs: int) -> int:
    """Batches that group_by_length sorts together, the longest first."""
    return max(1, min(pairs // (4 * SENTENCES), 50))


def report(meter: Meter, model: MarianMTModel, bf16: bool, flags: str) -> None:
    precision = "bf16" if bf16 else "float32"
    meter.report(model.num_parameters(), precision, flags, "transformers", "accelerate")


def main() -> None:
    run = arguments()
    corpus = Corpus(run.data)
    model = make_model(run, len(corpus.vocabulary))
    bf16 = run.system.endswith("-bf16")
    if run.system.startswith("hf-hand"):
        by_hand(run, corpus, model, bf16)
    else:
        by_trainer(run, corpus, model, bf16, "grouped" in run.system)


if __name__ == "__main__":
    main()
