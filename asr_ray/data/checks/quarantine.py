"""Which rows can be trained on, and when too many of them cannot.

`check_utterance` looks at one row and trusts nothing it claims; `limit_error` judges the counts. Both are
pure. Cheap checks come first, and no sample is decoded before its header is within the limits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from asr_ray.data.audio import AudioHeader, audio_hash, contradicts_flac_md5, decode_stored, read_header
from asr_ray.data.checks.text_checks import control_character, mojibake, script_share, text_hash
from asr_ray.errors import DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, LOCALES, nearest
from asr_ray.records import SAMPLE_RATE, Reason, Rejected, Tokenizer, Utterance
from asr_ray.settings import CheckSettings

_SAMPLE_RATES = range(4_000, 192_001)
_NUM_EXAMPLES = 3
_FULL_SCALE = 32768

# Before, after and between words there may be this much silence in a good recording: of a single word, say.
_FREE_SILENCE_S = 5.0

_EXCLUSIONS = frozenset({Reason.IN_HELD_OUT_AUDIO, Reason.IN_HELD_OUT_TEXT})
"""Nothing is wrong with these rows: the configuration asked to leave them out."""

_OFFICIAL_TAGS = {locale.slot: tag for tag, locale in LOCALES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An utterance that passed every check.

    Attributes:
        utterance: as found, with the official tag of its locale and the measured `duration_s`.
        num_samples: samples at 16 kHz, after resampling if the file has another rate.
        num_tokens: tokens of its text.
        num_characters: characters of its text.
        audio_hash: see `audio.audio_hash`.
        text_hash: see `text_checks.text_hash`.
    """

    utterance: Utterance
    num_samples: int
    num_tokens: int
    num_characters: int
    audio_hash: int
    text_hash: int


class _Finding(Exception):
    """The first check that failed; stays inside this module."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def check_utterance(
    utterance: Utterance, *, checks: CheckSettings, tokenizer: Tokenizer
) -> Checked | Rejected:
    """Return the utterance with what was measured on it, or the first reason to put it aside."""
    try:
        locale = _known_locale(utterance.locale, new_locales=checks.new_locales)
        _check_text(utterance.text, locale=locale, checks=checks)
        header = _check_header(utterance, checks=checks)
        samples = _check_samples(utterance.audio, header=header, checks=checks)
        duration_s = header.num_samples / SAMPLE_RATE
        _check_character_rate(utterance.text, duration_s=duration_s, checks=checks)
        num_tokens = _check_tokens(utterance.text, checks=checks, tokenizer=tokenizer)
    except _Finding as finding:
        return reject(utterance, reason=finding.reason, detail=finding.detail)
    return Checked(
        utterance=replace(utterance, locale=locale, duration_s=duration_s),
        num_samples=header.num_samples,
        num_tokens=num_tokens,
        num_characters=len(utterance.text),
        audio_hash=audio_hash(samples),
        text_hash=text_hash(utterance.text, locale=locale),
    )


def reject(utterance: Utterance, *, reason: Reason, detail: str) -> Rejected:
    """Return the quarantine row of an utterance."""
    return Rejected(
        origin=utterance.origin,
        reason=reason,
        detail=detail,
        locale=utterance.locale,
        source=utterance.source,
        utterance_id=utterance.id,
        duration_s=utterance.duration_s,
    )


def official_tag(tag: str, *, new_locales: Collection[str] = ()) -> str | None:
    """Return the model card's tag for a tag or alias (`el` -> `el-GR`), None for what is no language of it.

    One spelling per language, so that its hours, mixes and scores are counted together.

    Args:
        new_locales: tags that the model is given; each stands for itself.
    """
    if tag in new_locales:
        return tag
    slot = DEFAULT_PROMPT_SLOTS.get(tag)
    return None if slot is None or tag == "auto" else _OFFICIAL_TAGS.get(slot, tag)


def _known_locale(tag: str, *, new_locales: Sequence[str]) -> str:
    official = official_tag(tag, new_locales=new_locales)
    if official is not None:
        return official
    if tag == "auto":
        raise _Finding(Reason.UNKNOWN_LOCALE, "`auto` is a prompt, not a language; use prompt_mode for it")
    guess = nearest(tag, (*DEFAULT_PROMPT_SLOTS, *new_locales))
    hint = f", did you mean {guess!r}?" if guess else "; one that the model is to get: checks.new_locales"
    raise _Finding(Reason.UNKNOWN_LOCALE, f"{tag!r} is no locale of the model{hint}")


def _check_text(text: str, *, locale: str, checks: CheckSettings) -> None:
    if checks.empty_text == "reject" and not any(character.isalnum() for character in text):
        raise _Finding(Reason.EMPTY_TEXT, f"no letter or digit in {text!r}")
    if (sign := mojibake(text, locale=locale)) is not None:
        raise _Finding(Reason.MOJIBAKE, sign)
    if (character := control_character(text)) is not None:
        raise _Finding(Reason.CONTROL_CHARACTERS, f"U+{ord(character):04X} at {text.index(character)}")
    share = script_share(text, locale=locale)
    if share < checks.min_script_share:
        script = LOCALES[locale].script
        raise _Finding(
            Reason.WRONG_SCRIPT,
            f"{share:.0%} of the letters are {script}, {checks.min_script_share:.0%} are required",
        )


def _check_header(utterance: Utterance, *, checks: CheckSettings) -> AudioHeader:
    """Judge what the file announces, so that a small file cannot unpack to gigabytes."""
    try:
        header = read_header(utterance.audio)
    except soundfile.SoundFileError as error:
        raise _Finding(Reason.UNDECODABLE, _reason_in_words(error)) from None
    if header.sample_rate not in _SAMPLE_RATES:
        raise _Finding(Reason.UNDECODABLE, f"implausible sampling rate of {header.sample_rate} Hz")
    if header.num_channels != 1:
        raise _Finding(Reason.WRONG_CHANNELS, f"{header.num_channels} channels; one is required")
    claimed_rate = utterance.sampling_rate
    if claimed_rate is not None and claimed_rate != header.sample_rate:
        detail = f"header says {header.sample_rate} Hz, manifest {claimed_rate:g}"
        raise _Finding(Reason.SAMPLING_RATE_MISMATCH, detail)
    measured_s, claimed_s = header.duration_s, utterance.duration_s
    if not checks.min_duration_s <= measured_s <= checks.max_duration_s:
        limits = f"{checks.min_duration_s:g} to {checks.max_duration_s:g} s"
        raise _Finding(Reason.DURATION_RANGE, f"{measured_s:.3f} s of audio; allowed are {limits}")
    # `not <=` so that a claimed NaN fails too.
    if not abs(measured_s - claimed_s) <= checks.duration_tolerance_s:
        raise _Finding(
            Reason.DURATION_MISMATCH, f"{measured_s:.3f} s of audio, {claimed_s:.3f} s in the manifest"
        )
    return header


def _check_samples(
    audio: bytes, *, header: AudioHeader, checks: CheckSettings
) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    try:
        samples = decode_stored(audio, header=header)
    except soundfile.SoundFileError as error:
        # The header was readable, so the stream behind it is cut or damaged.
        raise _Finding(Reason.TRUNCATED, _reason_in_words(error)) from None
    if len(samples) < header.num_frames:
        raise _Finding(Reason.TRUNCATED, f"{len(samples):,} of {header.num_frames:,} announced samples")
    if contradicts_flac_md5(audio, samples):
        raise _Finding(
            Reason.AUDIO_CHECKSUM, "the samples do not have the MD5 that the FLAC header announces"
        )
    if not np.isfinite(samples).all():
        raise _Finding(
            Reason.NON_FINITE, f"{np.count_nonzero(~np.isfinite(samples)):,} samples are NaN or infinite"
        )
    peak = _peak(samples)
    if peak < checks.silence_peak:
        raise _Finding(
            Reason.SILENCE, f"highest sample is {peak:.1e} of full scale, but there is a transcript"
        )
    return samples


def _peak(samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> float:
    """Return the largest absolute sample [N] as a share of full scale."""
    # Not by abs(): the smallest int16 has no positive counterpart.
    peak = max(-float(samples.min()), float(samples.max()))
    return peak / _FULL_SCALE if samples.dtype == np.int16 else peak


def _check_character_rate(text: str, *, duration_s: float, checks: CheckSettings) -> None:
    rate = len(text) / duration_s
    if rate > checks.max_characters_per_s:
        limit = f"allowed are {checks.max_characters_per_s:g}"
        raise _Finding(Reason.CHARACTER_RATE, f"{rate:.1f} characters per second; {limit}")
    fewest = checks.min_characters_per_s * (duration_s - _FREE_SILENCE_S)
    if len(text) < fewest:
        detail = f"{len(text)} characters in {duration_s:.1f} s; {fewest:.0f} are the least"
        raise _Finding(Reason.CHARACTER_RATE, detail)


def _check_tokens(text: str, *, checks: CheckSettings, tokenizer: Tokenizer) -> int:
    token_ids = tokenizer.encode(text)
    share = token_ids.count(tokenizer.unknown_id) / max(len(token_ids), 1)
    if share > checks.max_unknown_share:
        raise _Finding(Reason.UNKNOWN_TOKENS, f"the tokenizer knows only {1 - share:.0%} of the tokens")
    return len(token_ids)


def _reason_in_words(error: soundfile.SoundFileError) -> str:
    """The decoder's message, without the address of the buffer that it read."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the rows of one locale, or of the rows of one source without a known locale.

    Attributes:
        name: the locale, or "no known locale in SOURCE".
        num_accepted: rows of the locale that passed.
        num_rows: rows that the faulty ones are a share of: those of the locale, or all of the source.
        reasons: rejected rows by reason.
        examples: the first rejected rows.
    """

    name: str
    num_accepted: int
    num_rows: int
    reasons: Mapping[Reason, int]
    examples: Sequence[Rejected]

    @property
    def num_rejected(self) -> int:
        """Rows in quarantine."""
        return sum(self.reasons.values())

    @property
    def rejected_share(self) -> float:
        """Rows in quarantine, of all rows."""
        return self.num_rejected / self.num_rows if self.num_rows else 0.0

    @property
    def faulty_share(self) -> float:
        """Rows in quarantine for a fault, of all rows; held-out speech is left out on request, not faulty."""
        excluded = sum(count for reason, count in self.reasons.items() if reason in _EXCLUSIONS)
        return (self.num_rejected - excluded) / self.num_rows if self.num_rows else 0.0


def tally(
    rejected: Iterable[Rejected],
    *,
    accepted: Mapping[tuple[str, str], int],
    new_locales: Collection[str] = (),
) -> list[Tally]:
    """Count rows by locale and reason, sorted by name; rows without a known locale follow, by source.

    Args:
        rejected: rows in quarantine.
        accepted: rows that passed, by (locale, source).
        new_locales: tags that the model is given.
    """
    passed, of_source = Counter[str](), Counter[str]()
    for (locale, source), count in accepted.items():
        passed[locale] += count
        of_source[source] += count
    known: defaultdict[str, list[Rejected]] = defaultdict(list)
    unknown: defaultdict[str, list[Rejected]] = defaultdict(list)
    for row in rejected:
        of_source[row.source] += 1
        locale_of_row = official_tag(row.locale, new_locales=new_locales)
        (unknown[row.source] if locale_of_row is None else known[locale_of_row]).append(row)
    locales = [
        _tally(
            locale, known[locale], num_accepted=passed[locale], num_rows=passed[locale] + len(known[locale])
        )
        for locale in sorted(passed.keys() | known.keys())
    ]
    return locales + [
        _tally(f"no known locale in {source}", rows, num_accepted=0, num_rows=of_source[source])
        for source, rows in sorted(unknown.items())
    ]


def _tally(name: str, rejected: Sequence[Rejected], *, num_accepted: int, num_rows: int) -> Tally:
    return Tally(
        name=name,
        num_accepted=num_accepted,
        num_rows=num_rows,
        reasons=Counter(row.reason for row in rejected),
        examples=tuple(rejected[:_NUM_EXAMPLES]),
    )


def limit_error(tallies: Sequence[Tally], *, checks: CheckSettings, quarantine: Path) -> DataError | None:
    """Return the error to raise when a locale lost more rows than allowed or no row is left, else None.

    The message holds, for each such locale, the counts by reason and some rows to look at.
    """
    above = [each for each in tallies if each.faulty_share > checks.max_rejected_share]
    if sum(each.num_accepted for each in tallies) == 0:
        what, above = "no row of the corpora can be used", list(tallies)
    elif above:
        what = f"too many rows cannot be used (limit {checks.max_rejected_share:.1%} per locale)"
    else:
        return None
    lines = [f"{what}:", *map(_describe, above), f"  every rejected row: {quarantine}"]
    return DataError(
        "\n".join(lines),
        fix="repair or remove these rows, or raise checks.max_rejected_share if they may be lost",
    )


def _describe(each: Tally) -> str:
    by_reason = sorted(each.reasons.items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{reason} {count:,}" for reason, count in by_reason)
    share = f"{each.num_rejected:,} of {each.num_rows:,} rows rejected ({each.rejected_share:.1%})"
    examples = [f"      {row.origin}  {row.reason}: {row.detail}" for row in each.examples]
    return "\n".join([f"    {each.name}: {share}: {counts}", *examples])
