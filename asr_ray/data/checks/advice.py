"""What stands out in the findings, in sentences that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asr_ray.data.checks.findings import Findings
from asr_ray.data.checks.profile import LocaleProfile
from asr_ray.records import Reason
from asr_ray.report.numbers import counted, listed, percent

_LITTLE_HOURS = 1.0
_GREAT_IMBALANCE = 50.0
_LONG_S = 30.0
_CROWDED_SHARE = 0.01
_REPEATED_SHARE = 0.05
_HELD_OUT_TEXT_SHARE = 0.01
_DENSE, _THIN = 25.0, 3.0

_REMEDIES = {
    Reason.BAD_JSON: "Look at the named lines; a manifest that was cut while it was copied ends inside one.",
    Reason.BAD_ENCODING: "Save the manifest as UTF-8.",
    Reason.MISSING_FIELD: "Add the field to the manifest, or the locale to the corpus settings.",
    Reason.MISSING_AUDIO: "Paths are relative to the folder of the manifest; is the audio mounted there?",
    Reason.UNSAFE_SOURCE: "The cuts would run a program; export their audio with Lhotse and list the files.",
    Reason.UNDECODABLE: "The files are no audio that libsndfile reads; convert them to FLAC.",
    Reason.TRUNCATED: "The files end early or are damaged; copy them again.",
    Reason.AUDIO_CHECKSUM: "The files were damaged or cut after encoding; copy or encode them again.",
    Reason.SAMPLING_RATE_MISMATCH: "Manifest and audio are of different versions, or the speed is wrong.",
    Reason.WRONG_CHANNELS: "Choose a channel: to average them can cancel the speech.",
    Reason.NON_FINITE: "The files hold NaN or infinite samples; export them again as 16-bit.",
    Reason.SILENCE: "The recordings are digital silence; take these rows out.",
    Reason.DURATION_MISMATCH: "Manifest and audio are of different versions; write the manifest anew.",
    Reason.DURATION_RANGE: "Cut longer recordings at pauses, or raise checks.max_duration_s.",
    Reason.UNKNOWN_LOCALE: "Write the tags as the model knows them, such as el-GR.",
    Reason.EMPTY_TEXT: "Transcribe these rows or take them out.",
    Reason.MOJIBAKE: "Read the source as UTF-8; what was lost as U+FFFD must be taken from the original.",
    Reason.CONTROL_CHARACTERS: "Take the characters out of the transcripts.",
    Reason.WRONG_SCRIPT: "Is the locale right? Romanised text teaches the model to romanise.",
    Reason.CHARACTER_RATE: "The transcript does not belong to the audio, or lacks a part of it.",
    Reason.UNKNOWN_TOKENS: "The tokenizer lacks these letters; normalise them or leave the rows out.",
    Reason.DUPLICATE_ID: "Is a manifest listed twice? Otherwise give each row its own id.",
    Reason.DUPLICATE_AUDIO: "Read only one of the copies; checks.same_audio: count keeps both.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing that stands out.

    Attributes:
        what: the observation.
        remedy: what to do about it.
        is_severe: whether the speech should not be used before.
    """

    what: str
    remedy: str
    is_severe: bool = False


def advice_of(findings: Findings) -> list[Advice]:
    """Return what stands out, severe things first; empty when nothing does."""
    found = [
        *_about_limits(findings),
        *_about_held_out(findings),
        *_about_repeats(findings),
        *_about_amounts(findings),
        *_about_density(findings.profile.locales),
    ]
    return sorted(found, key=lambda each: not each.is_severe)


def remedy_of(reason: Reason) -> str:
    """Return what to do about rows put aside for a reason; "" when that is what was asked for."""
    return _REMEDIES.get(reason, "")


def _about_limits(findings: Findings) -> Iterator[Advice]:
    limit = findings.settings.checks.max_rejected_share
    for each in findings.tallies:
        if each.faulty_share > limit:
            share, most = percent(each.faulty_share, digits=1), percent(limit, digits=1)
            what = f"{each.name}: {share} of the rows are faulty (limit {most})"
            reason = max(each.reasons, key=lambda reason: (reason in _REMEDIES, each.reasons[reason]))
            if 2 * each.reasons[reason] > each.num_rejected:
                what, remedy = f"{what}, mostly {reason}", remedy_of(reason)
            else:
                remedy = f"There are {len(each.reasons)} reasons; repair the most frequent ones first."
            yield Advice(what=f"{what}.", remedy=remedy, is_severe=True)


def _about_held_out(findings: Findings) -> Iterator[Advice]:
    summary, overlaps = findings.summary, findings.summary.overlaps
    if overlaps.held_out_audio_rows:
        yield Advice(
            what=f"{counted(overlaps.held_out_audio_rows, 'utterance')} can be heard in held-out speech too.",
            remedy="Prepare again with held_out, or error rates will be better than the model.",
            is_severe=True,
        )
    if overlaps.held_out_text_rows > _HELD_OUT_TEXT_SHARE * summary.utterances:
        share = percent(overlaps.held_out_text_rows / summary.utterances, digits=1)
        yield Advice(
            what=f"{share} of the utterances say what a held-out utterance of their locale says.",
            remedy="Fine for commands and prompts that shall be learned; else checks.held_out_text: reject.",
        )
    if not findings.settings.held_out:
        yield Advice(
            what="No held-out speech was named, so overlaps with it were not looked for.",
            remedy="Name the prepared folders of validation and test speech under held_out.",
        )


def _about_repeats(findings: Findings) -> Iterator[Advice]:
    summary, overlaps = findings.summary, findings.summary.overlaps
    if overlaps.same_audio_rows:
        yield Advice(
            what=f"{counted(overlaps.same_audio_rows, 'utterance')} repeat audio of an earlier one.",
            remedy="They weigh double in training; checks.same_audio: reject leaves them out.",
        )
    if overlaps.repeated_rows > _REPEATED_SHARE * summary.utterances:
        share = percent(overlaps.repeated_rows / summary.utterances, digits=0)
        texts = counted(overlaps.repeated_texts, "text")
        more_than = findings.settings.checks.max_text_repeats
        yield Advice(
            what=f"{share} of the utterances say one of {texts} that more than {more_than} rows repeat.",
            remedy="Natural for commands and synthetic speech; elsewhere sentences are learned by heart.",
        )


def _about_amounts(findings: Findings) -> Iterator[Advice]:
    locales = findings.profile.locales
    little = [each.locale for each in locales if each.hours < _LITTLE_HOURS]
    if little:
        yield Advice(
            what=f"Less than an hour of {listed(little)}.",
            remedy="Enough to try, too little to tune on alone; replay of related speech helps.",
        )
    if len(locales) > 1:
        least, most = (find(locales, key=lambda each: each.hours) for find in (min, max))
        times = most.hours / least.hours
        if times > _GREAT_IMBALANCE:
            yield Advice(
                what=f"There is {times:,.0f} times as much {most.locale} as {least.locale}.",
                remedy="Lower data.mix.alpha in the training configuration, or set its ratios.",
            )
    long = [each.locale for each in locales if each.duration_s.high > _LONG_S]
    if long:
        yield Advice(
            what=f"More than one in twenty utterances of {listed(long)} is longer than {_LONG_S:g} s.",
            remedy="Attention costs grow with the square of the length; cut at pauses if memory is short.",
        )


def _about_density(locales: tuple[LocaleProfile, ...]) -> Iterator[Advice]:
    for each in locales:
        rate = each.characters_per_s.median
        if not _THIN <= rate <= _DENSE:
            yield Advice(
                what=f"{each.locale}: {rate:.1f} characters per second in the median; "
                f"people speak {_THIN:g} to {_DENSE:g}.",
                remedy="Listen to a few: long pauses, cut audio, or transcripts that do not match.",
            )
        if each.crowded_share > _CROWDED_SHARE:
            share = percent(each.crowded_share, digits=1)
            yield Advice(
                what=f"{each.locale}: {share} of the utterances have more tokens than encoder frames.",
                remedy="The tokenizer splits this language finely, or speech was cut off.",
            )
