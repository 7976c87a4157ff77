"""The loop on one rank, with a real model of 0.1 million parameters and noise for speech; no Ray."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr_ray.config import load
from asr_ray.data.assemble import Assembler
from asr_ray.errors import ConfigError, TrainingError
from asr_ray.metrics import metrics_path, read
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import noise_utterances, write_prepared_speech
from asr_ray.train import ledger
from asr_ray.train import loop as loop_module
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.group import Worker
from asr_ray.train.judging.base_scores import measure_base
from asr_ray.train.judging.validate import counts_path
from asr_ray.train.loop import Loop, seed_everything
from asr_ray.train.survival.stopping import stop_file

CPU = torch.device("cpu")
START = Position()
UTTERANCES = list(noise_utterances(("el-GR", "radio"), count=12, seconds=(0.4, 0.7)))
HELD_OUT = {"el-GR": list(noise_utterances(("el-GR", "studio"), count=1, seconds=(0.3, 0.4)))}

Observer = Callable[[Batch], None]


@dataclass
class Feed:
    """Batches without end: each step takes the next utterances of the pool, wrapping around.

    Attributes:
        before: called with each batch before the loop gets it, to meddle with the run.
        starts: positions that the loop asked to start from.
    """

    assembler: Assembler
    size: int = 3
    before: Observer = lambda batch: None
    starts: list[Position] = field(default_factory=list)

    def at(self, step: int) -> Batch:
        chosen = [UTTERANCES[(step * self.size + row) % len(UTTERANCES)] for row in range(self.size)]
        return self.assembler.assemble(chosen, position=Position(0, 0, step), after=Position(0, 0, step + 1))

    def __call__(self, start: Position) -> Iterator[Batch]:
        self.starts.append(start)
        step = start.step
        while True:
            batch = self.at(step)
            self.before(batch)
            yield batch
            step += 1


@pytest.fixture(scope="module")
def assembler(micro_nemo: Path, micro_model: Any) -> Assembler:
    return Assembler(
        tokenizer=NemoTokenizer.from_nemo(micro_nemo),
        prompts=prompt_table(micro_model),
        prompt_mode="langID",
        auto_share=0.0,
        append_tags=False,
        seed=1,
    )


@pytest.fixture
def feed(assembler: Assembler) -> Feed:
    return Feed(assembler)


@pytest.fixture
def fresh_model(micro_nemo: Path) -> Callable[[], nn.Module]:
    """Restore the base anew, as each start of a worker does."""
    return lambda: load_model(micro_nemo)


def settings_for(run_dir: Path, *sets: str) -> TrainSettings:
    run_dir.mkdir(exist_ok=True)
    given = (f"run_dir={run_dir}", "data.train=t", "data.validation=v", "model.base=micro")
    steps = ("max_steps=6", "optim.warmup_steps=1", "optim.peak_lr=1e-2", "validation.every_steps=100")
    roles = ("validation.targets=[el-GR]",)
    return load(None, schema=TrainSettings, sets=[*given, *steps, *roles, *sets]).settings


def worker_for(feed: Feed, *, reports: list[Mapping[str, float]] | None = None) -> Worker:
    report = reports.append if reports is not None else lambda metrics: None
    return Worker(rank=0, world_size=1, device=CPU, batches=feed, report=report)


def loop_for(
    settings: TrainSettings, *, model: nn.Module, feed: Feed, reports: list[Mapping[str, float]] | None = None
) -> Loop:
    worker = worker_for(feed, reports=reports)
    return Loop(settings, model=model, worker=worker, validation=HELD_OUT, plan_digest="plan")


def weights_of(loop: Loop) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in loop.objective.named_parameters()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_chance(model: nn.Module) -> nn.Module:
    """Switch dropout off without leaving training mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.LSTM):
            module.dropout = 0.0
    return model


def loss_of(loop: Loop, batch: Batch) -> Tensor:
    """Loss of each utterance, [B]."""
    arrays = {
        name: torch.from_numpy(getattr(batch, name)) for name in ("num_samples", "tokens", "num_tokens")
    }
    slots = torch.from_numpy(batch.prompt_slots)
    losses: Tensor = loop.objective(torch.from_numpy(batch.audio), **arrays, prompt_slots=slots)
    return losses


def mean_loss(loop: Loop, batches: Sequence[Batch]) -> float:
    loop.objective.eval()
    with torch.no_grad():
        return float(torch.cat([loss_of(loop, batch) for batch in batches]).mean())


def stop_before(step: int, *, run_dir: Path) -> Observer:
    """Ask for a stop while the batch of `step` is on its way."""

    def ask(batch: Batch) -> None:
        if batch.position.step == step:
            stop_file(run_dir).touch()

    return ask


class Kill(BaseException):
    """Ends a worker wherever it is."""


def kill_before(step: int) -> Observer:
    def kill(batch: Batch) -> None:
        if batch.position.step == step:
            raise Kill

    return kill


def test_ten_steps_lower_the_loss_and_leave_a_run(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    reports: list[Mapping[str, float]] = []
    settings = settings_for(tmp_path, "max_steps=10", "validation.every_steps=5")
    loop = loop_for(settings, model=fresh_model(), feed=feed, reports=reports)
    batches = [feed.at(step) for step in range(4)]
    before = mean_loss(loop, batches)

    state = loop.run()

    assert mean_loss(loop, batches) < 0.8 * before
    assert (state.step, state.position) == (10, Position(0, 0, 10))
    assert [entry["step"] for entry in state.validations] == [0, 5, 10]
    assert [report["step"] for report in reports] == [0, 5, 10]
    assert state.best_step in (5, 10)
    assert set(loop.store.steps()) >= {10, state.best_step}
    assert loop.store.newest() == (loop.store.path(10), state)
    rows = list(read(metrics_path(tmp_path)))
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("validation", 0),
        ("validation", 5),
        ("step", 10),
        ("validation", 10),
    ]
    booked = ledger.read(tmp_path)
    assert booked.column("id").to_pylist() == [name for step in range(10) for name in feed.at(step).ids]
    assert state.consumed_s == pytest.approx({"el-GR/radio": sum(booked.column("seconds").to_pylist())})


def test_a_stop_is_committed_and_the_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], assembler: Assembler
) -> None:
    whole = loop_for(settings_for(tmp_path / "whole"), model=fresh_model(), feed=Feed(assembler))
    whole_state = whole.run()

    parts = settings_for(tmp_path / "parts")
    stopping = Feed(assembler, before=stop_before(2, run_dir=parts.run_dir))
    stopped = loop_for(parts, model=fresh_model(), feed=stopping).run()
    stop_file(parts.run_dir).unlink()
    resumed_feed = Feed(assembler)
    resumed = loop_for(parts, model=fresh_model(), feed=resumed_feed)
    resumed_state = resumed.run()

    assert (stopped.step, stopped.position) == (3, Position(0, 0, 3))
    assert resumed_feed.starts == [stopped.position]
    assert same(weights_of(resumed), weights_of(whole))
    assert resumed_state.validations == whole_state.validations
    assert resumed_state.consumed_s == pytest.approx(whole_state.consumed_s)
    assert ledger.read(parts.run_dir).equals(ledger.read(whole.settings.run_dir))


@pytest.mark.parametrize(
    ("stopped_at", "sets"),
    [(4, ["validation.every_steps=2"]), (6, []), (4, ["validation.every_hours=1.0e-9"])],
)
def test_a_stop_where_the_weights_were_to_be_judged_only_puts_that_off(
    tmp_path: Path,
    fresh_model: Callable[[], nn.Module],
    assembler: Assembler,
    stopped_at: int,
    sets: list[str],
) -> None:
    whole_state = loop_for(
        settings_for(tmp_path / "whole", *sets), model=fresh_model(), feed=Feed(assembler)
    ).run()

    parts = settings_for(tmp_path / "parts", *sets)
    stopping = Feed(assembler, before=stop_before(stopped_at - 1, run_dir=parts.run_dir))
    assert loop_for(parts, model=fresh_model(), feed=stopping).run().step == stopped_at
    stop_file(parts.run_dir).unlink()
    resumed = loop_for(parts, model=fresh_model(), feed=Feed(assembler)).run()

    assert resumed.validations == whole_state.validations
    found = CheckpointStore(parts.run_dir).newest()
    assert found is not None
    assert found[1].validations == whole_state.validations


def test_work_after_the_last_commit_is_done_again_and_booked_once(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], assembler: Assembler
) -> None:
    settings = settings_for(tmp_path, "checkpoint.every_steps=2")
    with pytest.raises(Kill):
        loop_for(settings, model=fresh_model(), feed=Feed(assembler, before=kill_before(5))).run()
    # A part that was written just before the kill, and whose checkpoint never came.
    lost = ledger.Ledger(tmp_path, rank=0)
    lost.add(Feed(assembler).at(4), step=5, applied=True)
    lost.flush(step=5)

    feed = Feed(assembler)
    loop_for(settings, model=fresh_model(), feed=feed).run()

    assert feed.starts == [Position(0, 0, 4)]
    booked = ledger.read(tmp_path).column("id").to_pylist()
    assert booked == [name for step in range(6) for name in feed.at(step).ids]


def test_a_run_whose_plan_changed_is_not_continued(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    model, settings = fresh_model(), settings_for(tmp_path, "max_steps=2")
    loop_for(settings, model=model, feed=feed).run()

    with pytest.raises(TrainingError, match="differ from those of step 2"):
        Loop(settings, model=model, worker=worker_for(feed), validation=HELD_OUT, plan_digest="another")


def test_a_checkpoint_remembers_every_mix_that_the_run_was_read_by(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    def run(steps: int, mixes: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
        settings = settings_for(tmp_path, f"max_steps={steps}")
        loop = Loop(
            settings,
            model=fresh_model(),
            worker=worker_for(feed),
            validation=HELD_OUT,
            plan_digest="plan",
            mixes=mixes,
        )
        return loop.run().mixes

    assert run(2, {"old": {"el-GR/a": 1.0}}) == {"old": {"el-GR/a": 1.0}}
    # What was read by a mix stays what it was, whatever the configuration says by now.
    changed = {"old": {"el-GR/a": 0.999}, "new": {"bg-BG/a": 1.0}}
    assert run(3, changed) == {"old": {"el-GR/a": 1.0}, "new": {"bg-BG/a": 1.0}}


def test_a_notice_that_a_node_goes_away_is_answered_by_one_checkpoint_at_once(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "_LOOK_EVERY_S", 0.0)
    settings = settings_for(tmp_path, "max_steps=4", "checkpoint.every_steps=100")
    told = iter([False, True])
    worker = replace(worker_for(feed), leaving=lambda: next(told))
    loop = Loop(settings, model=fresh_model(), worker=worker, validation=HELD_OUT, plan_digest="plan")

    assert loop.run().step == 4
    assert sorted(loop.store.steps()) == [2, 4]
    assert list(told) == [], "nobody asks again"


def test_a_rank_says_what_it_does(tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed) -> None:
    said: list[tuple[str, int | None]] = []
    worker = replace(worker_for(feed), mark=lambda doing, step=None: said.append((doing, step)))
    settings = settings_for(tmp_path, "max_steps=2")
    Loop(settings, model=fresh_model(), worker=worker, validation=HELD_OUT, plan_digest="plan").run()

    assert [doing for doing, step in said if step is not None] == ["waiting for data"] * 2
    assert [step for _, step in said if step is not None] == [1, 2]
    assert {doing for doing, _ in said} == {
        "waiting for data",
        "computing",
        "validating",
        "saving a checkpoint",
    }


class Poisoned(nn.Module):
    """The objective, with a loss of NaN in the given calls (counted from 0)."""

    def __init__(self, objective: nn.Module, *, calls: range) -> None:
        super().__init__()
        self.objective, self.calls, self.call = objective, calls, -1

    def forward(self, audio: Tensor, **rest: Tensor) -> Tensor:
        self.call += 1
        losses: Tensor = self.objective(audio, **rest)
        return losses * torch.nan if self.call in self.calls else losses


def poisoned(loop: Loop, *, steps: range) -> Loop:
    loop.network = Poisoned(loop.objective, calls=steps)
    return loop


def test_a_step_that_is_not_finite_is_skipped_and_booked_as_such(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    states: list[dict[str, Tensor]] = []
    settings = settings_for(tmp_path, "max_steps=4", "max_nonfinite_steps=2")
    loop = poisoned(loop_for(settings, model=fresh_model(), feed=feed), steps=range(1, 2))
    feed.before = lambda batch: states.append(weights_of(loop))

    state = loop.run()

    changed = [not same(before, after) for before, after in itertools.pairwise(states)]
    assert changed == [True, False, True]
    assert all(bool(torch.isfinite(weight).all()) for weight in weights_of(loop).values())
    rows = ledger.read(tmp_path).to_pylist()
    assert {(row["step"], row["applied"]) for row in rows} == {(1, True), (2, False), (3, True), (4, True)}
    applied_s = sum(row["seconds"] for row in rows if row["applied"])
    assert state.consumed_s == pytest.approx({"el-GR/radio": applied_s})


def test_several_in_a_row_end_the_run(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    settings = settings_for(tmp_path, "max_nonfinite_steps=3", "checkpoint.every_steps=1")
    loop = poisoned(loop_for(settings, model=fresh_model(), feed=feed), steps=range(1, 9))

    with pytest.raises(TrainingError, match="step 4: non-finite gradient 3 times in a row"):
        loop.run()
    newest = loop.store.newest()
    assert newest is not None
    assert newest[1].step == 3, "the step that ended the run must not be committed"


def update_of(loop: Loop, *, rate: float) -> dict[str, Tensor]:
    """Run one update by plain gradient descent, so that it is `rate` times the gradient; return it."""
    loop.optimizer = torch.optim.SGD(loop.parameters)  # type: ignore[assignment]  # the loop only steps it
    before = weights_of(loop)
    loop.run()
    return {name: (before[name] - weight) / rate for name, weight in weights_of(loop).items()}


def test_accumulated_batches_give_the_gradient_of_the_mean_over_all_utterances(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], assembler: Assembler
) -> None:
    sets = (
        "max_steps=1",
        "optim.warmup_steps=0",
        "optim.peak_lr=1",
        "optim.clip_norm=1e9",
        "model.att_context_sizes=[[56, 3]]",
    )
    once = settings_for(tmp_path / "once", *sets)
    twice = settings_for(tmp_path / "twice", *sets, "optim.accumulate=2")
    whole = loop_for(once, model=without_chance(fresh_model()), feed=Feed(assembler, size=4))
    halves = loop_for(twice, model=without_chance(fresh_model()), feed=Feed(assembler, size=2))
    by_hand = loop_for(
        settings_for(tmp_path / "hand", *sets), model=without_chance(fresh_model()), feed=Feed(assembler)
    )
    by_hand.objective.train()
    torch.autograd.backward(loss_of(by_hand, Feed(assembler, size=4).at(0)).mean())
    expected = {name: weight.grad for name, weight in by_hand.objective.named_parameters()}

    of_whole, of_halves = update_of(whole, rate=1.0), update_of(halves, rate=1.0)

    largest = max(float(gradient.abs().max()) for gradient in expected.values() if gradient is not None)
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(of_whole[name], gradient, rtol=1e-3, atol=1e-4 * largest)
            torch.testing.assert_close(of_halves[name], of_whole[name], rtol=1e-3, atol=1e-4 * largest)
    assert halves.state.position == Position(0, 0, 2)


def test_the_gradient_is_clipped_to_its_norm(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    sets = ("max_steps=1", "optim.warmup_steps=0", "optim.peak_lr=1", "optim.clip_norm=0.01")
    update = update_of(loop_for(settings_for(tmp_path, *sets), model=fresh_model(), feed=feed), rate=1.0)

    norm = torch.linalg.vector_norm(torch.cat([each.flatten() for each in update.values()]))
    assert float(norm) == pytest.approx(0.01, rel=1e-2)


def test_a_frozen_encoder_stays_as_it_is(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    settings = settings_for(tmp_path, "max_steps=2", "model.freeze=encoder")
    loop = loop_for(settings, model=fresh_model(), feed=feed)
    before = weights_of(loop)
    loop.run()

    changed = {name for name, weight in weights_of(loop).items() if not torch.equal(weight, before[name])}
    assert changed
    assert not [name for name in changed if name.startswith("model.encoder.")]


def test_a_feed_that_ends_early_is_an_error(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    settings = settings_for(tmp_path)
    worker = replace(worker_for(feed), batches=lambda start: iter([feed.at(0), feed.at(1)]))
    loop = Loop(settings, model=fresh_model(), worker=worker, validation=HELD_OUT, plan_digest="plan")

    with pytest.raises(TrainingError, match="step 3: the feed ended before max_steps"):
        loop.run()


def draws(*, seed: int = 1, position: Position = START, rank: int = 0) -> tuple[float, ...]:
    seed_everything(seed, position=position, rank=rank)
    return tuple(torch.rand(2).tolist())


def test_draws_are_those_of_their_place_in_the_plan() -> None:
    places: list[dict[str, Any]] = [
        {},
        {"seed": 2},
        {"rank": 1},
        {"position": Position(epoch=1)},
        {"position": Position(window=1)},
        {"position": Position(step=1)},
        {"position": Position(step=0, earlier=((2, 1),))},
    ]
    first = [draws(**place) for place in places]
    again = [draws(**place) for place in places]

    assert first == again
    assert len(set(first)) == len(places)


def test_one_rank_needs_no_process_group() -> None:
    worker = Worker(
        rank=0, world_size=1, device=CPU, batches=lambda start: iter(()), report=lambda metrics: None
    )
    worker.barrier()

    assert worker.sum([1, 2.5, True]) == [1.0, 2.5, 1.0]
    assert worker.gather({"a": 1}) == [{"a": 1}]


def rated(*guard_rates: float) -> Callable[..., Any]:
    """A validation that finds these rates of the guard one after the other, and a better target each time."""
    rates = iter(enumerate(guard_rates))

    def validation(*args: Any, **kwargs: Any) -> dict[str, dict[str, float]]:
        turn, guard = next(rates)
        return {"el-GR": {"rate": 1.0 - 0.1 * turn}, "en-US": {"rate": guard}}

    return validation


GUARDED = ("validation.guards=[en-US]", "validation.every_steps=1", "validation.stop_when_broken=2")


def test_a_run_that_keeps_losing_a_guard_ends_and_stays_ended(
    tmp_path: Path,
    fresh_model: Callable[[], nn.Module],
    assembler: Assembler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loop_module, "validate", rated(0.1, 0.12, 0.3, 0.1, 0.2, 0.4))
    settings = settings_for(tmp_path, *GUARDED)
    state = loop_for(settings, model=fresh_model(), feed=Feed(assembler)).run()

    # One bad validation (step 2) is forgiven, two in a row are not; the best is the best that kept the guard.
    assert (state.step, state.best_step) == (5, 3)
    reason = (
        "guards lost more than 5 points in each of the last 2 validations: at step 5 en-US 40.0% (base 10.0%)"
    )
    assert f"the run ends at step 5: {reason}" in caplog.text
    assert list(read(metrics_path(tmp_path)))[-1] == {"kind": "stopped", "step": 5, "reason": reason}

    # Nothing is validated again, and no batch is asked for.
    again = Feed(assembler, before=kill_before(5))
    resumed = loop_for(settings, model=fresh_model(), feed=again)
    assert resumed.run() == state
    assert again.starts == []

    monkeypatch.setattr(loop_module, "validate", rated(0.1))
    patient = settings_for(tmp_path, *GUARDED, "validation.stop_when_broken=3")
    assert loop_for(patient, model=fresh_model(), feed=Feed(assembler)).run().step == 6


def test_weights_are_judged_at_fixed_hours_of_audio_also_by_a_resumed_run(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], assembler: Assembler
) -> None:
    # A batch holds three utterances of about half a second.
    hours = ("max_steps=7", f"validation.every_hours={4.0 / 3600}", "checkpoint.every_steps=1")
    whole = loop_for(
        settings_for(tmp_path / "whole", *hours), model=fresh_model(), feed=Feed(assembler)
    ).run()
    crossed = [entry for entry in whole.validations if 0 < entry["step"] < 7]
    assert crossed
    feed = Feed(assembler)
    heard_s = [sum(feed.at(step).audio_s for step in range(count)) for count in range(8)]
    assert [entry["step"] for entry in crossed] == [
        step for step in range(1, 7) if int(heard_s[step] / 4.0) > int(heard_s[step - 1] / 4.0)
    ]
    assert [entry["audio_s"] for entry in crossed] == pytest.approx(
        [heard_s[entry["step"]] for entry in crossed]
    )

    parts = settings_for(tmp_path / "parts", *hours)
    with pytest.raises(Kill):
        loop_for(parts, model=fresh_model(), feed=Feed(assembler, before=kill_before(1))).run()
    resumed = loop_for(parts, model=fresh_model(), feed=Feed(assembler)).run()
    assert resumed.validations == whole.validations


def test_no_text_and_no_secret_is_left_in_a_run(
    tmp_path: Path,
    feed: Feed,
    fresh_model: Callable[[], nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_kanarienvogel")
    spoken = [replace(utterance, text="kanarienvogel") for utterance in UTTERANCES]
    monkeypatch.setitem(globals(), "UTTERANCES", spoken)
    loop = loop_for(settings_for(tmp_path, "max_steps=2"), model=fresh_model(), feed=feed)
    loop.validation = {"el-GR": [replace(utterance, text="kanarienvogel") for utterance in HELD_OUT["el-GR"]]}
    with caplog.at_level(logging.DEBUG):
        loop.run()
    loop.metrics.close()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"metrics.jsonl", "model.pt", "state.json"} <= {path.name for path in files}
    assert [path for path in files if "tfevents" in path.name]
    assert not [path for path in files if b"kanarienvogel" in path.read_bytes()]
    out = capfd.readouterr()
    assert "kanarienvogel" not in out.out + out.err + caplog.text


def test_each_validation_leaves_counts_of_each_utterance_and_no_text(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed
) -> None:
    settings = settings_for(tmp_path, "max_steps=4", "validation.every_steps=2")
    loop = loop_for(settings, model=fresh_model(), feed=feed)
    loop.run()
    for step, entry in zip((0, 2, 4), loop.state.validations, strict=True):
        lines = counts_path(tmp_path, step=step).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["id"] for row in rows] == [utterance.id for utterance in HELD_OUT["el-GR"]]
        assert all(set(row) == {"id", "locale", "speaker", "errors", "tokens"} for row in rows)
        errors, tokens = (sum(row[key] for row in rows) for key in ("errors", "tokens"))
        assert errors / tokens == entry["locales"]["el-GR"]["rate"]
    validated = [row for row in read(metrics_path(tmp_path)) if row["kind"] == "validation"]
    seconds = [sum(feed.at(step).audio_s for step in range(steps)) for steps in (0, 2, 4)]
    assert [row["audio_s"] for row in validated] == pytest.approx(seconds)


def test_a_run_that_pauses_is_the_same_run(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], assembler: Assembler
) -> None:
    whole = loop_for(settings_for(tmp_path / "whole"), model=fresh_model(), feed=Feed(assembler))
    whole.run()
    for until in (4, None):
        settings = settings_for(tmp_path / "parts")
        loop = Loop(
            settings,
            model=fresh_model(),
            worker=worker_for(Feed(assembler)),
            validation=HELD_OUT,
            plan_digest="plan",
            until_step=until,
        )
        state = loop.run()
        # Validated and committed where it paused, whatever the configuration says of that step.
        assert state.step == (until or 6)
        assert state.validations[-1]["step"] == state.step
        assert loop.store.newest() == (loop.store.path(state.step), state)
    assert same(weights_of(loop), weights_of(whole))


def test_scores_of_the_base_are_taken_from_where_they_were_measured(
    tmp_path: Path, fresh_model: Callable[[], nn.Module], feed: Feed, micro_nemo: Path
) -> None:
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    write_prepared_speech(tmp_path / "held", {("el-GR", "studio"): HELD_OUT["el-GR"]}, tokenizer=tokenizer)
    held = (f"data.validation={tmp_path / 'held'}", f"model.base={micro_nemo}", "max_steps=2")
    settings = settings_for(tmp_path / "first", *held)
    measure_base(settings, path=tmp_path / "base.json")
    decoded = loop_for(settings, model=fresh_model(), feed=feed).run().validations[0]

    shared = (*held, f"validation.base_scores={tmp_path / 'base.json'}")
    settings = settings_for(tmp_path / "second", *shared)
    assert loop_for(settings, model=fresh_model(), feed=feed).run().validations[0] == decoded
    first, second = (counts_path(tmp_path / name, step=0).read_text() for name in ("first", "second"))
    assert first == second
    other = settings_for(tmp_path / "third", *shared, "validation.utterances_per_locale=7")
    with pytest.raises(ConfigError, match="is of another number of utterances than this run"):
        loop_for(other, model=fresh_model(), feed=feed).run()
    absent = settings_for(tmp_path / "fourth", *held, "validation.base_scores=absent.json")
    with pytest.raises(ConfigError, match=r"absent\.json cannot be read"):
        loop_for(absent, model=fresh_model(), feed=feed).run()
