"""Many processes make the run that one would make; and one that dies is replaced, and nobody can tell from the bytes.

Most of these runs are forks of the test's own process, which is quick; the last ones are torchrun's.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint.state_dict_saver
import torch.distributed.fsdp  # these two here, since each fork would take a second for them
from runs import SHAPES, after, copying, of_shape, said, state_of, weights, with_training

from zhuyi.checkpoint import build_model
from zhuyi.config import Config, DataConfig, ModelConfig, TextConfig, to_toml
from zhuyi.data.batches import Batch, collate
from zhuyi.data.prepare import prepare
from zhuyi.directory import read_metrics
from zhuyi.errors import DataError, TrainingError
from zhuyi.training import distributed
from zhuyi.training.distributed import World, joined
from zhuyi.training.memory import find_micro_batches, longest_batch
from zhuyi.training.objective import Objective, TeacherForcing
from zhuyi.training.recipe import train
from zhuyi.training.run_state import RunState

pytestmark = pytest.mark.unix

DRY = {"dropout": 0.0, "attention_dropout": 0.0}
CPU = torch.device("cpu")

sharded_or_not = pytest.mark.parametrize("shard", [True, pytest.param(False, marks=pytest.mark.long)])
"""For a test of what another one shows without shards too.

That is `test_many_processes_make_the_run_of_one`, and for a run that goes on `test_a_killed_worker_is_replaced...`.
"""


@pytest.fixture(autouse=True)
def _exit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "EXPLAINING_SECONDS", 0.0)


def ranks(size: int, work: Callable[[int], object]) -> list[tuple[str, str]]:
    """What `work` gives on each of these ranks, in words; or how it ended: the error's name and what it says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("fork")
    outcomes = context.SimpleQueue()

    def be(rank: int) -> None:
        os.environ.update(
            TORCHELASTIC_RUN_ID="test",
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        try:
            outcomes.put((rank, "done", str(work(rank))))
        except BaseException as error:
            traceback.print_exc()
            outcomes.put((rank, type(error).__name__, str(error)))

    processes = [context.Process(target=be, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    found = {}
    for process in processes:
        process.join(60)
        assert process.exitcode is not None, "it hangs"
    while not outcomes.empty():
        rank, how, what = outcomes.get()
        found[rank] = how, what
    return [found.get(rank, ("killed", "")) for rank in range(size)]


def train_in(size: int, config: Config, out: Path, resume: bool = False) -> None:
    assert [how for how, _ in ranks(size, lambda _: train(config, out, resume))] == ["done"] * size


def figures(out: Path) -> list[tuple[float, float]]:
    """Loss and norm of each step."""
    return [(record["loss"], record["norm"]) for record in read_metrics(out / "metrics.jsonl") if "loss" in record]


def same_figures(out: Path, other: Path) -> None:
    ours, theirs = np.array(figures(out)), np.array(figures(other))
    assert len(ours) == 20
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# The same run


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_two_processes_make_the_run_of_every_shape_that_one_makes(tmp_path: Path, shape: str) -> None:
    config = of_shape(tmp_path, shape, model=DRY, training={"log_every": 1})
    train(config, tmp_path / "one")
    train_in(2, config, tmp_path / "two")
    same_figures(tmp_path / "two", tmp_path / "one")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A run of one process without dropout, and every checkpoint of it."""
    folder = tmp_path_factory.mktemp("alone")
    config = copying(folder, model=DRY, training={"log_every": 1, "keep": 99})
    train(config, folder / "out")
    return config, folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shard"), [(2, False), (3, False), (2, True)])
def test_many_processes_make_the_run_of_one(tmp_path: Path, alone: tuple[Config, Path], size: int, shard: bool) -> None:
    """Loss and norm at each step; the last batch of an epoch has fewer rows than there are ranks, now and then."""
    config, whole = alone
    train_in(size, with_training(config, shard=shard), tmp_path / "out")
    same_figures(tmp_path / "out", whole)
    shards = list((tmp_path / "out/checkpoints/step-000010").glob("shard-*"))
    assert len(shards) == (size if shard else 0)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 3])
def test_batches_are_dealt_out_where_they_can_be(tmp_path: Path, accumulate: int) -> None:
    """By twos there is one for each rank; by threes each is split; and what is left of an epoch is one or the other."""
    training = {"log_every": 1, "accumulate": accumulate}
    config = copying(tmp_path, dev=False, model=DRY, training=training)
    train(config, tmp_path / "one")
    train_in(2, config, tmp_path / "two")
    same_figures(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@sharded_or_not
def test_adamw_in_two_processes(tmp_path: Path, shard: bool) -> None:
    training = {"optimizer": "adamw", "log_every": 1, "shard": shard}
    config = copying(tmp_path, dev=False, model=DRY, training=training)
    train(with_training(config, shard=False), tmp_path / "one")
    train_in(2, config, tmp_path / "two")
    same_figures(tmp_path / "two", tmp_path / "one")


def test_the_share_of_each_rank() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 3, 8):
        for count in range(1, 9):
            batches = [np.arange(n) + 100 * i for i, n in enumerate(rng.integers(1, 12, count))]
            shares = [World(rank, size).share(batches) for rank in range(size)]
            assert len({len(share) for share in shares}) == 1
            assert sorted(np.concatenate([rows for share in shares for rows in share])) == sorted(
                np.concatenate(batches)
            )
    assert World().share(batches) == batches


# Checkpoints


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "shard", "then", "sharded"),
    [(2, True, 1, False), (1, False, 2, True), pytest.param(2, True, 3, False, marks=pytest.mark.long)],
)
def test_a_run_goes_on_in_another_number_of_processes(
    tmp_path: Path, alone: tuple[Config, Path], size: int, shard: bool, then: int, sharded: bool
) -> None:
    """From one to many, from whole to sharded, and back: with an average of the weights, it is the same run still."""
    config = with_training(alone[0], ema=0.9)
    out = tmp_path / "out"
    train(config, tmp_path / "whole")
    first = with_training(config, steps=10, shard=shard)
    train_in(size, first, out) if size > 1 else train(first, out)
    second = with_training(config, shard=sharded)
    train_in(then, second, out, resume=True) if then > 1 else train(second, out, resume=True)
    same_figures(out, tmp_path / "whole")
    state = json.loads((out / "checkpoints/step-000020/run_state.json").read_text())
    assert (state["step"], state["passes"]) == (20, 4.0)


@pytest.mark.slow
@sharded_or_not
def test_a_resumed_run_of_many_is_exact(tmp_path: Path, shard: bool) -> None:
    """With dropout, and each rank's own random numbers for it."""
    config = copying(tmp_path, training={"shard": shard, "keep": 99})
    train_in(3, config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for step in (15, 20):
        shutil.rmtree(tmp_path / f"out/checkpoints/step-0000{step}")
    (tmp_path / "out/model.safetensors").unlink()
    train_in(3, config, tmp_path / "out", resume=True)
    assert state_of(tmp_path / "out", 20) == state_of(tmp_path / "whole", 20)
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


@pytest.mark.slow
@sharded_or_not
def test_many_processes_begin_with_another_model(tmp_path: Path, alone: tuple[Config, Path], shard: bool) -> None:
    """Each rank has its weights, its settings where none are given, and the same mix; when the run goes on too."""
    config, first = alone
    mix = [{"source": config.data.source, "target": config.data.target, "weight": 0.3}]
    data = DataConfig.model_validate({**config.data.model_dump(), "mix": mix})
    unsaid = config.model_copy(update={"data": data, "text": TextConfig(), "model": ModelConfig()})
    config = with_training(unsaid, start_from=str(first), learning_rate=0.002, ema=0.9, freeze=("decoder.blocks.0",))
    train(config, tmp_path / "whole")
    train_in(2, with_training(config, steps=10, shard=shard), tmp_path / "out")
    train_in(2, with_training(config, shard=shard, start_from=None), tmp_path / "out", resume=True)
    same_figures(tmp_path / "out", tmp_path / "whole")
    assert figures(tmp_path / "out")[0][0] < 0.9 * figures(first)[0][0]


def test_ranks_do_not_drop_the_same(tmp_path: Path) -> None:
    def drawn(rank: int) -> float:
        with joined(CPU) as world:
            torch.manual_seed(1)
            world.seed(1)
            return torch.rand(()).item()

    torch.manual_seed(1)
    alone = torch.rand(()).item()
    numbers = [float(what) for _, what in ranks(3, drawn)]
    assert numbers[0] == alone
    assert len(set(numbers)) == 3


# What one decides


@pytest.mark.slow
def test_clocks_that_disagree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is spent when it is for rank 0."""
    config = copying(tmp_path, training={"steps": None, "minutes": 0.01, "save_every": None})
    clock = time.perf_counter

    def work(rank: int) -> int:
        monkeypatch.setattr(time, "perf_counter", lambda: clock() * (1 + 7 * rank))
        return train(config, tmp_path / "out").steps

    (one, steps), (other, same) = ranks(2, work)
    assert (one, other) == ("done", "done")
    assert steps == same


@pytest.mark.slow
def test_patience_is_that_of_rank_0(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 40, "learning_rate": 1e-12, "save_every": 2, "patience": 3})
    assert ranks(2, lambda _: train(config, tmp_path / "out").steps) == [("done", "8")] * 2


@pytest.mark.slow
def test_a_signal_to_one_stops_all(tmp_path: Path) -> None:
    config = copying(tmp_path)

    def work(rank: int) -> tuple[int, bool]:
        listeners = [after(3, lambda: signal.raise_signal(signal.SIGTERM))] if rank == 1 else []
        result = train(config, tmp_path / "out", listeners=listeners)
        return result.steps, result.interrupted

    assert ranks(2, work) == [("done", "(3, True)")] * 2
    assert state_of(tmp_path / "out", 3)


@pytest.mark.parametrize("culprit", [0, 1])
def test_an_error_of_one_ends_all_and_is_reported_once(culprit: int) -> None:
    def work(rank: int) -> None:
        with joined(CPU) as world, world.all_or_none():
            if rank == culprit:
                raise DataError("line 7 is not UTF-8")

    found = ranks(2, work)
    assert found[culprit] == ("DataError", "line 7 is not UTF-8")
    assert found[1 - culprit] == ("SystemExit", "2")


@pytest.mark.slow
def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    config = with_training(copying(tmp_path, training={"steps": 50}), learning_rate=1e30)
    (how, what), other = ranks(2, lambda _: train(config, tmp_path / "out"))
    assert how == "TrainingError"
    assert "the loss is not a number" in what
    assert other == ("SystemExit", "2")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_is_noticed(tmp_path: Path, victim: int) -> None:
    config = copying(tmp_path)

    def work(rank: int) -> None:
        deadly = after(6, lambda: os.kill(os.getpid(), signal.SIGKILL))
        train(config, tmp_path / "out", listeners=[deadly] if rank == victim else [])

    found = ranks(2, work)
    assert found[victim] == ("killed", "")
    how, what = found[1 - victim]
    assert (how, "--resume" in what) == (TrainingError.__name__, True)


# Memory


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A device on which no more than some rows of a batch fit, after so many passes."""

    def limit(rows: int, after: int = 0, rank: int | None = None) -> None:
        real, calls = TeacherForcing.__call__, iter(range(10_000))

        def loss(self: TeacherForcing, model: torch.nn.Module, batch: Batch) -> Any:
            if next(calls) >= after and len(batch.source) > rows and os.environ.get("RANK") == rank:
                raise torch.OutOfMemoryError("CUDA out of memory (not really)")
            return real(self, model, batch)

        monkeypatch.setattr(TeacherForcing, "__call__", loss)

    return limit


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_does_not_fit_is_cut_and_the_update_stays_the_same(
    tmp_path: Path, alone: tuple[Config, Path], small_memory: Callable[..., None], accumulate: int
) -> None:
    config = with_training(alone[0], threads=1, accumulate=accumulate)
    train(config, tmp_path / "whole")
    small_memory(rows=4, after=5)
    _, printed = said(config, tmp_path / "out")
    same_figures(tmp_path / "out", tmp_path / "whole")
    micro_batches = json.loads((tmp_path / "out/checkpoints/step-000020/run_state.json").read_text())["micro_batches"]
    assert micro_batches >= 4
    assert f"cut into {micro_batches} micro-batches" in printed
    assert printed.count("Out of memory") < 4


def test_a_single_pair_that_does_not_fit(tmp_path: Path, small_memory: Callable[..., None]) -> None:
    small_memory(rows=0)
    with pytest.raises(TrainingError, match=r"out of memory on cpu of rank 0: .* lower training.tokens_per_batch"):
        train(copying(tmp_path, training={"threads": 1}), tmp_path / "out")


def test_ranks_cut_alike(tmp_path: Path, small_memory: Callable[..., None]) -> None:
    """One of them has less memory than the other."""
    config = copying(tmp_path)
    data = prepare(config)
    model = build_model(config, data.tokenizers).transformer
    objective = Objective(model, TeacherForcing(0.1))
    small_memory(rows=2, rank="1")

    def work(rank: int) -> int:
        state = RunState()
        with joined(CPU) as world:
            find_micro_batches(objective, data.store, config.training, state, world)
        assert all(parameter.grad is None for parameter in model.parameters())
        return state.micro_batches

    (one, micro_batches), (other, same) = ranks(2, work)
    assert (one, other) == ("done", "done")
    assert micro_batches == same
    assert int(micro_batches) > 1


def test_the_batch_that_needs_the_most_memory(tmp_path: Path) -> None:
    config = copying(tmp_path, pairs=500, longest=20)
    store = prepare(config).store
    worst = collate(store, longest_batch(store, 150))
    width = worst.source.shape[1] + worst.target_in.shape[1]
    assert width > 0.8 * 42
    assert 0.9 * 150 < width * len(worst.pairs) <= 150


# torchrun


def torchrun(folder: Path, config: Config, *options: str, inside: tuple[str, ...] = ()) -> list[str]:
    """The command; `inside` goes before it."""
    (folder / "run.toml").write_text(to_toml(config), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "3", *options]
    return [
        *inside,
        *launcher,
        "-m",
        "zhuyi",
        "train",
        str(folder / "run.toml"),
        "--out",
        str(folder / "out"),
        "--resume",
    ]


LAST = 30
"""The last step of `long_run`."""


def long_run(folder: Path) -> Config:
    folder.mkdir()
    return copying(folder, training={"steps": LAST, "save_every": 5, "keep": 99})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The last checkpoint of an uninterrupted run in two processes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    config = long_run(folder)
    train_in(2, config, folder / "out")
    return state_of(folder / "out", LAST)


def wait_for(path: Path, processes: list[subprocess.Popen[str]]) -> None:
    while not path.exists():
        assert all(process.poll() is None for process in processes), "it ended too soon"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has just ended
            if parent == pid:
                found.append(int(entry.name))
    return sorted(found)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_bytes_are_the_same(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    command = torchrun(folder, long_run(folder), "--standalone", "--nproc-per-node", "2")
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(folder / "out/checkpoints/step-000005/manifest.json", [run])
    os.kill(children(run.pid)[-1], signal.SIGKILL)
    said, printed = run.communicate(timeout=120)
    assert run.returncode == 0, printed
    assert "Going on from step" in said
    assert said.count("holds step") + said.count("holds the average") == 1  # only rank 0 speaks
    assert state_of(folder / "out", LAST) == undisturbed


@pytest.mark.slow
def test_a_mistake_of_the_users_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = long_run(folder)
    (folder / "train.txt").unlink()
    command = torchrun(folder, config, "--standalone", "--nproc-per-node", "2", "--max-restarts", "0")
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert run.stderr.count("zhuyi: error:") == 1
    assert "train.txt: no such file" in run.stderr
    ends = set(re.findall(r"exitcode  : (\S+)", run.stderr))
    assert "2" in ends
    assert ends <= {"2", "-15"}  # torchrun may stop the other rank while it ends


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces with a cable between them: 10.77.0.1 and 10.77.0.2."""
    names = [f"zhuyi-{os.getpid()}-{i}" for i in (1, 2)]
    cable = [f"zhuyi{os.getpid() % 100_000}{side}" for side in "ab"]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root, and the command ip")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", cable[0], "netns", names[0], "type", "veth", "peer", "name", cable[1], "netns", names[1])
            for i, name in enumerate(names):
                ip("-n", name, "address", "add", f"10.77.0.{i + 1}/24", "dev", cable[i])
                for device in ("lo", cable[i]):
                    ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.long
def test_two_hosts_one_of_which_is_lost_and_comes_back(
    tmp_path: Path, hosts: list[str], undisturbed: dict[str, bytes]
) -> None:
    """With the commands of docs/distributed.md: as with a worker of one host, which is killed above."""
    folder = tmp_path / "run"
    config = long_run(folder)

    def start(host: int) -> subprocess.Popen[str]:
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29400", "--nnodes", "2"]
        # A real host knows by its name that it is the endpoint; and its name is that of its network device's address.
        meeting += ["--rdzv-conf", f"is_host={1 - host}", "--local-addr", f"10.77.0.{host + 1}"]
        device = f"zhuyi{os.getpid() % 100_000}{'ab'[host]}"
        environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": device}
        command = torchrun(folder, config, *meeting, inside=("ip", "netns", "exec", hosts[host]))
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    one, other = start(0), start(1)
    wait_for(folder / "out/checkpoints/step-000005/manifest.json", [one, other])
    for pid in (*children(other.pid), other.pid):  # the launcher too: nobody there restarts anything
        os.kill(pid, signal.SIGKILL)
    other.communicate()
    again = start(1)
    ends = [process.communicate(timeout=150) for process in (one, again)]
    assert (one.returncode, again.returncode) == (0, 0), ends
    assert any("Going on from step" in out for out, _ in ends)
    assert state_of(folder / "out", LAST) == undisturbed
