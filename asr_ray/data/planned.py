"""The data of one run, decided and readable: mix, plan, prompts, and the batches of any window.

Pure apart from reading the catalog; Ray enters in `feed.py`. Small enough to travel, because a plan is
built again from the catalog wherever it is needed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from asr_ray.data.assemble import Assembler
from asr_ray.data.augment.augmenter import Augmenter, speed_rule
from asr_ray.data.augment.speed import Speeds, Uses
from asr_ray.data.batching import BatchBudget, CostModel
from asr_ray.data.catalog import TOKENIZER_DIGEST, Catalog
from asr_ray.data.mix import (
    Key,
    Mix,
    MixPolicy,
    Ratios,
    RepetitionCap,
    Replay,
    Temperature,
    mix_shares,
)
from asr_ray.data.plan import Plan, PlannedStep, ScheduledMix
from asr_ray.data.read import RowAddress
from asr_ray.data.recipe import BatchReader, BatchRecipe
from asr_ray.data.shuffle import Int64s
from asr_ray.errors import ConfigError, DataError
from asr_ray.locales import check_locale, nearest
from asr_ray.records import Position, PromptTable, Tokenizer
from asr_ray.settings import CostSettings, DataSettings, MixSettings, SourceSettings, TrainSettings
from asr_ray.settings.augment import AugmentSettings

Schedule = tuple[tuple[int, Mix], ...]
"""(plan step, mix that is due from it on), the first from 0."""

_NO_HISTORY = "[]"

PART_UTTERANCES = 512
"""What one task reads: about an hour of speech, a second of decoding, 60 MB before and 120 MB after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where a run stands.

    Attributes:
        world_size: number of ranks that reached `position`.
        steps_taken: steps of the plan so far.
        mixes: name -> share by "locale/source", for each mix that `position` names.
    """

    position: Position
    world_size: int
    steps_taken: int
    mixes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """Everything that decides the batches of a run.

    Attributes:
        num_steps: plan steps of the whole run (updates x accumulation).
        budget_s: seconds the whole run may read; what a repetition cap is measured against.
        accumulate: plan steps per update; the schedule of the mix counts updates.
        history: mixes that the run was read by before, see `continuing`.
    """

    data: DataSettings
    seed: int
    num_steps: int
    budget_s: float
    assembler: Assembler
    accumulate: int = 1
    history: tuple[Mapping[str, float], ...] = ()

    @classmethod
    def build(cls, settings: TrainSettings, *, tokenizer: Tokenizer, prompts: PromptTable) -> PlannedData:
        """Check the data against tokenizer and prompts.

        Raises:
            DataError: the catalog counted tokens with another tokenizer, or noises cannot be read.
            ConfigError: a locale of the data has no prompt slot, a source is not in it, or the mix
                cannot be planned.
            EnvironmentFault: augmentation needs a codec that is not installed.
        """
        if settings.data.calibration is not None:
            raise ConfigError(
                "data.calibration is still to be read", fix="use the settings of `with_calibration`"
            )
        steps = settings.max_steps * settings.optim.accumulate
        budget_s = steps * settings.resources.max_workers * settings.data.max_padded_s
        accumulate = settings.optim.accumulate
        plan, _ = _plan(
            settings.data.model_dump_json(), settings.seed, steps, budget_s, accumulate, _NO_HISTORY
        )
        catalog = plan.catalog
        planned = cls(
            data=settings.data,
            seed=settings.seed,
            num_steps=steps,
            budget_s=budget_s,
            accumulate=accumulate,
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
        return self._planned[0]

    @property
    def mix(self) -> Mix:
        """Target shares of seconds at the start, with what is to be said about them."""
        return self._planned[1][0][1]

    @property
    def mixes(self) -> tuple[tuple[int, Mix], ...]:
        """(first update, mix) of each entry of the schedule."""
        return tuple((step // self.accumulate, mix) for step, mix in self._planned[1])

    @property
    def mixes_by_name(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps in order to know later by which mixes it was read."""
        return {
            mix.name: {"/".join(key): share for key, share in mix.shares.items()}
            for mix in self.plan.schedule
        }

    @property
    def _planned(self) -> tuple[Plan, Schedule]:
        return _plan(
            self.data.model_dump_json(),
            self.seed,
            self.num_steps,
            self.budget_s,
            self.accumulate,
            json.dumps(self.history),
        )

    def continuing(self, start: ResumePoint) -> PlannedData:
        """This data for a run that stands at `start`, perhaps with another mix than it began with.

        The windows up to `start` stay what they were. From the first window that begins after it, the
        mix is the configured one; what the sources have left of their passes is used up first.

        Raises:
            DataError: `start` names a mix that neither it nor the configuration explains.
        """
        names = [name for _, name in start.position.mixes]
        if not names:
            return self
        known = {**self.mixes_by_name, **start.mixes}
        if missing := sorted(set(names) - set(known)):
            raise DataError(
                f"{start.position} was read by the mix {missing[0]}, of which nothing is known",
                fix="resume from a complete checkpoint, or choose a new run_dir to start afresh",
            )
        return replace(self, history=tuple(dict(known[name]) for name in names))

    def windows(self, start: ResumePoint, *, world_size: int) -> Iterator[tuple[Position, int]]:
        """Yield (position, steps) of each window still to read, cut for `world_size` ranks."""
        position = Plan.resume(start.position, old_world_size=start.world_size, new_world_size=world_size)
        plan, steps_taken = self.plan, start.steps_taken
        while steps_taken < self.num_steps:
            position = plan.marked(position, steps_taken=steps_taken)
            steps = plan.window_steps(position, world_size=world_size)[: self.num_steps - steps_taken]
            yield position, len(steps)
            position, steps_taken = steps[-1].after, steps_taken + len(steps)

    def parts(
        self, start: ResumePoint, *, world_size: int, utterances: int = PART_UTTERANCES
    ) -> Iterator[list[BatchRecipe]]:
        """Yield what is still to read, some batches at a time: step by step, rank by rank.

        Args:
            utterances: about as many make a part. On many ranks that is less than a step.
        """
        for position, num_steps in self.windows(start, world_size=world_size):
            steps = self.plan.window_steps(position, world_size=world_size)[:num_steps]
            batches = [(step, uses) for step in steps for uses in step.uses]
            num_parts = max(1, round(sum(len(uses) for _, uses in batches) / utterances))
            for part in np.array_split(np.arange(len(batches)), min(num_parts, len(batches))):
                yield [self._recipe(*batches[index]) for index in part.tolist()]

    @property
    def reader(self) -> BatchReader:
        """What makes batches of the parts."""
        return BatchReader(root=self.data.train, assembler=self.assembler)

    def _recipe(self, step: PlannedStep, uses: Uses) -> BatchRecipe:
        return BatchRecipe(
            position=step.position,
            after=step.after,
            addresses=_addresses(self.plan.catalog, rows=uses.rows),
            draws=self.plan.draws(uses) if self.assembler.augmenters else None,
        )


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


def mix_policy(mix: MixSettings, *, budget_s: float, used_s: Mapping[Key, float] | None = None) -> MixPolicy:
    """Translate the configuration of a mix.

    Args:
        budget_s: what may be read by it in all.
        used_s: what was read of each key by the mixes before it.
    """
    replay, source_alpha = mix.replay, mix.source_alpha
    return MixPolicy(
        targets=Ratios(parts=mix.ratios, source_alpha=1.0 if source_alpha is None else source_alpha)
        if mix.ratios
        else Temperature(
            locale_alpha=mix.alpha, source_alpha=mix.alpha if source_alpha is None else source_alpha
        ),
        replay=Replay(locales=tuple(replay.locales), share=replay.share) if replay else None,
        cap=RepetitionCap(max_passes=mix.max_passes, budget_s=budget_s, used_s=used_s or {})
        if mix.max_passes
        else None,
    )


def mix_schedule(
    mix: MixSettings,
    seconds_by_key: Mapping[Key, float],
    *,
    num_steps: int,
    budget_s: float,
    accumulate: int = 1,
) -> Schedule:
    """Return the mixes of a run with the plan step each is due at.

    A repetition cap holds over the whole run: each mix may give what those before it leave.

    Args:
        num_steps: plan steps of the whole run, which share `budget_s` seconds evenly.
        accumulate: plan steps per update.

    Raises:
        ConfigError: a mix that cannot be.
    """
    stages = [(update * accumulate, settings) for update, settings in mix.stages()]
    ends = [*(first for first, _ in stages[1:]), max(num_steps, stages[-1][0] + 1)]
    used_s = dict.fromkeys(seconds_by_key, 0.0)
    found: list[tuple[int, Mix]] = []
    for (first, settings), end in zip(stages, ends, strict=True):
        own_s = budget_s * (end - first) / ends[-1]
        policy = mix_policy(settings, budget_s=own_s, used_s=used_s)
        found.append((first, mix_shares(seconds_by_key, policy=policy)))
        for key, share in found[-1][1].shares.items():
            used_s[key] += share * own_s
    return tuple(found)


@functools.lru_cache(maxsize=4)
def _plan(
    data_json: str, seed: int, num_steps: int, budget_s: float, accumulate: int, history_json: str
) -> tuple[Plan, Schedule]:
    data = DataSettings.model_validate_json(data_json)
    cost = data.cost or CostSettings()
    catalog = Catalog.read(data.train / "catalog.parquet")
    mixes = mix_schedule(
        data.mix, catalog.seconds_by_key, num_steps=num_steps, budget_s=budget_s, accumulate=accumulate
    )
    plan = Plan(
        catalog=catalog,
        schedule=tuple(ScheduledMix(from_step=step, shares=mix.shares) for step, mix in mixes),
        seed=seed,
        budget=BatchBudget(max_padded_s=data.max_padded_s, max_utterances=data.max_batch_utterances),
        cost=CostModel(a=cost.a, b=cost.b, c=cost.c, d=cost.d),
        window_utterances=data.window_utterances,
        speeds=_speeds(data, catalog=catalog),
        history=tuple(
            {_key(name): share for name, share in shares.items()} for shares in json.loads(history_json)
        ),
    )
    return plan, mixes


def _key(name: str) -> Key:
    locale, _, source = name.partition("/")
    return locale, source


def _addresses(catalog: Catalog, *, rows: Int64s) -> tuple[RowAddress, ...]:
    names = catalog.shards
    columns = (numbers[rows].tolist() for numbers in (catalog.shard, catalog.row_group, catalog.row))
    return tuple(RowAddress(names[shard], group, row) for shard, group, row in zip(*columns, strict=True))
