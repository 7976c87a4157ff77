"""The data of one run, decided and readable: mix, plan, prompts, and the batches of any window.

Pure apart from reading the catalog and the shards; Ray enters in `feed.py`. Small enough to travel with
every reading task, because a plan is built again from the catalog wherever it is needed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_ray.augment_settings import AugmentSettings
from asr_ray.data.assemble import Assembler
from asr_ray.data.augment import Augmenter, speed_rule
from asr_ray.data.batching import BatchBudget, CostModel
from asr_ray.data.catalog import TOKENIZER_DIGEST, Catalog
from asr_ray.data.mix import Mix, MixPolicy, Ratios, RepetitionCap, Replay, Temperature, mix_shares
from asr_ray.data.plan import Plan, PlannedStep
from asr_ray.data.read import addresses, read_utterances
from asr_ray.data.speed import Speeds
from asr_ray.errors import ConfigError, DataError
from asr_ray.locales import check_locale, nearest
from asr_ray.records import Batch, Position, PromptTable, Tokenizer, Utterance
from asr_ray.settings import DataSettings, SourceSettings, TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where a run stands: position, the world size that reached it, and plan steps taken so far."""

    position: Position
    world_size: int
    steps_taken: int


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """Everything that decides the batches of a run.

    Attributes:
        num_steps: plan steps of the whole run (updates x accumulation).
        budget_s: seconds the whole run may read; what a repetition cap is measured against.
    """

    data: DataSettings
    seed: int
    num_steps: int
    budget_s: float
    assembler: Assembler

    @classmethod
    def build(cls, settings: TrainSettings, *, tokenizer: Tokenizer, prompts: PromptTable) -> PlannedData:
        """Check the data against tokenizer and prompts.

        Raises:
            DataError: the catalog counted tokens with another tokenizer, or noises cannot be read.
            ConfigError: a locale of the data has no prompt slot, a source is not in it, or the mix
                cannot be planned.
            EnvironmentFault: augmentation needs a codec that is not installed.
        """
        steps = settings.max_steps * settings.optim.accumulate
        budget_s = steps * settings.resources.num_workers * settings.data.batch_s
        catalog = _plan(settings.data.model_dump_json(), settings.seed, budget_s)[0].catalog
        planned = cls(
            data=settings.data,
            seed=settings.seed,
            num_steps=steps,
            budget_s=budget_s,
            assembler=Assembler(
                tokenizer=tokenizer,
                prompts=prompts,
                prompt_mode=settings.data.prompt_mode,
                auto_share=settings.data.auto_share,
                append_tags=settings.data.tags == "append",
                seed=settings.seed,
                prompt_modes={
                    name: own.prompt_mode for name, own in _exceptions(settings.data) if own.prompt_mode
                },
                augmenters=_augmenters(settings.data, catalog=catalog),
            ),
        )
        if catalog.metadata.get(TOKENIZER_DIGEST) != tokenizer.digest:
            raise DataError(
                f"{settings.data.train}: its tokens were counted with another tokenizer than this model's",
                fix="run jobs/prepare.py with `tokenizer:` set to the base model of this run",
            )
        for locale, _ in catalog.keys:
            check_locale(locale, known=prompts.slots, where=f"{settings.data.train}")
        return planned

    @property
    def plan(self) -> Plan:
        """The plan of this run; built once per process."""
        return _plan(self.data.model_dump_json(), self.seed, self.budget_s)[0]

    @property
    def mix(self) -> Mix:
        """Target shares of seconds, with what is to be said about them."""
        return _plan(self.data.model_dump_json(), self.seed, self.budget_s)[1]

    def windows(self, start: ResumePoint, *, world_size: int) -> Iterator[tuple[Position, int]]:
        """Yield (position, steps) of each window still to read, cut for `world_size` ranks."""
        position = Plan.resume(start.position, old_world_size=start.world_size, new_world_size=world_size)
        remaining = self.num_steps - start.steps_taken
        while remaining > 0:
            steps = self.plan.window_steps(position, world_size=world_size)[:remaining]
            yield position, len(steps)
            position, remaining = steps[-1].after, remaining - len(steps)

    def read_window(self, position: Position, *, num_steps: int, world_size: int) -> Iterator[Batch]:
        """Yield the batches of the window at `position` in order: step by step, rank by rank."""
        steps = self.plan.window_steps(position, world_size=world_size)[:num_steps]
        # Each row group once for the whole window: its rows are spread over most of the batches.
        utterances = _read_rows(self.data.train, catalog=self.plan.catalog, steps=steps)
        for step in steps:
            for batch in step.uses:
                chosen = [utterances[int(row)] for row in batch.rows]
                draws = self.plan.draws(batch) if self.assembler.augmenters else None
                yield self.assembler.assemble(chosen, position=step.position, after=step.after, draws=draws)


def augment_of(data: DataSettings, *, source: str) -> AugmentSettings:
    """The augmentation that holds for a source."""
    own = dict(_exceptions(data)).get(source)
    return own.augment if own is not None and own.augment is not None else data.augment


def _exceptions(data: DataSettings) -> list[tuple[str, SourceSettings]]:
    return list((data.sources or {}).items())


def _augmenters(data: DataSettings, *, catalog: Catalog) -> dict[str, Augmenter]:
    """An augmenter for each source that is changed in any way; sources of equal settings share one."""
    sources = sorted({source for _, source in catalog.keys})
    if unknown := sorted({name for name, _ in _exceptions(data)} - set(sources)):
        guess = nearest(unknown[0], sources)
        raise ConfigError(
            f"data.sources names {unknown[0]!r}, but {data.train} holds {', '.join(sources)}",
            fix=f"did you mean {guess!r}?" if guess else "take it out, or prepare a corpus of that source",
        )
    found: dict[str, Augmenter] = {}
    for source in sources:
        settings = augment_of(data, source=source)
        if settings != AugmentSettings():
            alike = (each for each in found.values() if each.settings == settings)
            found[source] = next(alike, None) or Augmenter.build(settings)
    return found


def _speeds(data: DataSettings, *, catalog: Catalog) -> Speeds:
    rules = {key: speed_rule(augment_of(data, source=key[1]).speed) for key in catalog.keys}
    return Speeds(by_key={key: rule for key, rule in rules.items() if rule is not None})


def mix_policy(data: DataSettings, *, budget_s: float) -> MixPolicy:
    """Translate the configuration of a mix; `budget_s` is what the run may read in all."""
    mix = data.mix
    replay = mix.replay
    return MixPolicy(
        targets=Ratios(by_locale=mix.ratios)
        if mix.ratios
        else Temperature(locale_alpha=mix.alpha, source_alpha=mix.alpha),
        replay=Replay(locales=tuple(replay.locales), share=replay.share) if replay else None,
        cap=RepetitionCap(max_passes=mix.max_passes, budget_s=budget_s) if mix.max_passes else None,
    )


@functools.lru_cache(maxsize=4)
def _plan(data_json: str, seed: int, budget_s: float) -> tuple[Plan, Mix]:
    data = DataSettings.model_validate_json(data_json)
    catalog = Catalog.read(data.train / "catalog.parquet")
    mix = mix_shares(catalog.seconds_by_key, policy=mix_policy(data, budget_s=budget_s))
    plan = Plan.of(
        catalog,
        mix.shares,
        seed=seed,
        budget=BatchBudget(max_padded_s=data.batch_s, max_utterances=data.max_batch_utterances),
        cost=CostModel(a=data.cost.a, b=data.cost.b, c=data.cost.c),
        window_utterances=data.window_utterances,
        speeds=_speeds(data, catalog=catalog),
    )
    return plan, mix


def _read_rows(root: Path, *, catalog: Catalog, steps: Sequence[PlannedStep]) -> dict[int, Utterance]:
    """Return the utterances of some steps by catalog row, their audio still encoded."""
    batches = itertools.chain.from_iterable(step.batches for step in steps)
    rows = np.unique(np.concatenate(list(batches)))
    return dict(zip(rows.tolist(), read_utterances(root, addresses(catalog.table.take(rows))), strict=True))
