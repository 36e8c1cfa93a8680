"""Checks whether a run may begin or continue in a directory: with the same data, and on the same machine."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from zhuyi.data.prepare import Prepared
from zhuyi.data.store import Store
from zhuyi.directory import CARD, CONFIG, WEIGHTS
from zhuyi.errors import CheckpointError, DataError
from zhuyi.evaluation.held_out import HeldOut
from zhuyi.files import MANIFEST, ensure_writable
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.training.distributed import World
from zhuyi.training.events import Listener, Notice
from zhuyi.training.run_state import RUN_ADVICE, RunState


def claim(out: Path, checkpoints: Checkpoints, resume: bool, notify: Listener) -> None:
    """Check that `out` can be written, and that no other run, model or file of the user's would be overwritten.

    Raises:
        CheckpointError: if it cannot be written, or if something would be overwritten.
    """
    elsewhere = "choose another place with --out"
    if checkpoints.steps():
        if not resume:
            raise CheckpointError(f"{out} holds a run already: go on with --resume, or {elsewhere}")
    elif (out / MANIFEST).exists():
        raise CheckpointError(f"{out} holds a model, and no checkpoint to go on from: {elsewhere}")
    else:
        for name in (WEIGHTS, CONFIG, CARD, "tokenizer.json", "training.svg"):
            if (out / name).exists():
                raise CheckpointError(f"{out / name} exists and is not a run's: {elsewhere}")
        if resume:
            notify(Notice(f"Nothing to resume in {out}: a new run begins."))
    ensure_writable(out, RUN_ADVICE)


def check_data(state: RunState, data: Prepared, dev: HeldOut | None) -> None:
    """Check that a resumed run has the data that it began with, even if the files were moved.

    Raises:
        DataError: if the data has changed.
    """
    digest = hashlib.sha256(f"{data.fingerprint()}{dev}".encode()).hexdigest()
    if state.step and state.data_digest != digest:
        mixed = [name for each in data.config.data.mix for name in (each.source, each.target)]
        files = ", ".join(dict.fromkeys((data.corpus.source, data.corpus.target, *mixed)))
        what = f"{files}, their weights" if mixed else files
        raise DataError(
            f"{what} or the dev set are not what the run to be resumed has learned from: "
            "give it the same ones, unchanged, or start another run with another --out"
        )
    state.data_digest = digest


def record_machine(state: RunState, here: str, notify: Listener) -> None:
    """Give a notice if a resumed run cannot be exact because `here`, the `precision.fingerprint`, has changed."""
    if state.fingerprint not in ("", here):
        text = f"the run began with {state.fingerprint}, and continues with {here}."
        notify(Notice(text, warning="Not to the last bit"))
        state.threads = 0  # to be chosen for this machine
    state.fingerprint = here


def record_segmentation(state: RunState, epoch: int, stores: Sequence[Store], notify: Listener) -> None:
    """Record the segmentation of an epoch. Give a notice if that of a resumed epoch has changed.

    That happens if it is no longer in the cache, since BPE-dropout cannot be seeded.
    """
    segmentation = _lengths_checksum(stores)
    if epoch == state.epoch and state.batches and state.segmentation != segmentation:
        text = f"epoch {epoch + 1} was no longer in the cache, and BPE-dropout has segmented it again."
        notify(Notice(text, warning="Not to the last bit"))
    state.segmentation = segmentation


def check_stores(stores: Sequence[Store], world: World) -> None:
    """Check that all ranks have the same corpora, and so make the same batches.

    Raises:
        DataError: if they differ.
    """
    if world.size > 1 and not world.same(_lengths_checksum(stores)):
        raise DataError(
            "the processes of this run have different data: let all see the same files and, with text.bpe_dropout, the "
            "same ZHUYI_CACHE"
        )


def _lengths_checksum(stores: Sequence[Store]) -> int:
    """A checksum of the lengths of all pairs."""
    checksum = 0
    for store in stores:
        for lengths in (store.source_lengths, store.target_lengths):
            checksum = zlib.crc32(lengths.tobytes(), checksum)
    return checksum
