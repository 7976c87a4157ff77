"""Measure cache-aware streaming: `python -m tests.benchmarks.streaming --help`. Prints one JSON line.

The same clips in the same batches through the same model in the same process, the ways in turn, the best of
the repeats counting; features are part of each. Seconds are those of the processor, which stay true on a busy
machine as long as there is one thread. `nemo` is the loop of NeMo's script
`speech_to_text_cache_aware_streaming_infer` (its buffer, its `conformer_stream_step`, its settings for the
search), one language in all, for it knows no other. `live` gets audio in pieces of 80 ms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import OmegaConf

from asr_ray.contexts import RELEASED_CONTEXTS, AttContextSize
from asr_ray.data.audio import decode_pcm16
from asr_ray.model.base import resolve_base
from asr_ray.model.decode import decode_offline
from asr_ray.model.inference import inference, text_of
from asr_ray.model.live import Recogniser
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.streaming import decode_streaming
from asr_ray.records import SAMPLE_RATE
from asr_ray.testing.speech import write_corpus

LOCALE = "en-US"
PIECE = 1_280

Clip = npt.NDArray[np.float32]
Way = Callable[[Sequence[Clip]], list[str]]


def clips_of(folder: Path, *, count: int) -> list[Clip]:
    """Speak `count` test sentences; float32 [N] each."""
    corpus = write_corpus(folder, locales=[LOCALE], utterances={"test": count}, seed=7)
    manifest = corpus.manifests[LOCALE, "test"]
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    files = [manifest.parent / row["audio_filepath"] for row in rows]
    return [decode_pcm16(file.read_bytes()).astype(np.float32) / 2**15 for file in files]


def padded(clips: Sequence[Clip]) -> tuple[torch.Tensor, torch.Tensor]:
    audio = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    return audio, torch.tensor([len(clip) for clip in clips])


def nemo_loop(clips: Sequence[Clip], *, model: Any, context: AttContextSize) -> list[str]:
    """One batch as NeMo's script does it; the model must be set up by `as_the_script_does`."""
    from nemo.collections.asr.parts.utils.streaming_utils import CacheAwareStreamingAudioBuffer

    buffer = CacheAwareStreamingAudioBuffer(model=model)
    for clip in clips:
        buffer.append_audio(clip, stream_id=-1)
    caches = model.encoder.get_initial_cache_state(batch_size=len(clips))
    hypotheses = predictions = None
    for number, (features, num_features) in enumerate(buffer):
        predictions, _, *caches, hypotheses = model.conformer_stream_step(
            processed_signal=features,
            processed_signal_length=num_features,
            cache_last_channel=caches[0],
            cache_last_time=caches[1],
            cache_last_channel_len=caches[2],
            keep_all_outputs=buffer.is_buffer_empty(),
            previous_hypotheses=hypotheses,
            previous_pred_out=predictions,
            drop_extra_pre_encoded=model.encoder.streaming_cfg.drop_extra_pre_encoded if number else 0,
            return_transcription=True,
        )
    # Its own text lacks blanks before `?` and `!`; the tokens are what is compared.
    return [
        text_of(model, hypothesis.y_sequence.tolist(), keep_tags=False) for hypothesis in hypotheses or []
    ]


def as_the_script_does(model: Any) -> None:
    """Set the search and the language as the script would."""
    from nemo.collections.asr.parts.submodules.rnnt_decoding import RNNTDecodingConfig

    model.change_decoding_strategy(OmegaConf.structured(RNNTDecodingConfig(fused_batch_size=-1)))
    model.set_inference_prompt(LOCALE)


def ours(clips: Sequence[Clip], *, model: Any, context: AttContextSize, decode: Any) -> list[str]:
    audio, num_samples = padded(clips)
    slots = torch.full((len(clips),), prompt_table(model).slots[LOCALE])
    texts: list[str] = decode(model, audio, num_samples, prompt_slots=slots, att_context_size=context)
    return texts


def live(clips: Sequence[Clip], *, model: Any, context: AttContextSize) -> list[str]:
    recogniser = Recogniser(model, att_context_size=context)
    streams = [recogniser.open(prompt_table(model).slots[LOCALE]) for _ in clips]
    for start in range(0, max(map(len, clips)) + PIECE, PIECE):
        for stream, clip in zip(streams, clips, strict=True):
            if start < len(clip):
                stream.push(torch.from_numpy(clip[start : start + PIECE]))
            else:
                stream.end()
        recogniser.advance(streams)
    return [stream.text for stream in streams]


def measure(model: Any, clips: Sequence[Clip], *, context: AttContextSize, options: Any) -> dict[str, object]:
    ways: dict[str, Way] = {
        "nemo": partial(nemo_loop, model=model, context=context),
        "ours": partial(ours, model=model, context=context, decode=decode_streaming),
        "live": partial(live, model=model, context=context),
        "offline": partial(ours, model=model, context=context, decode=decode_offline),
    }
    batches = [clips[i : i + options.batch] for i in range(0, len(clips), options.batch)]
    texts: dict[str, list[str]] = {}
    best: dict[str, float] = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            # For NeMo alone this must stand outside; the others do it themselves.
            with inference(model, context):
                begin = time.process_time()
                texts[name] = [text for batch in batches for text in way(batch)]
                seconds = time.process_time() - begin
            best[name] = min(seconds, best.get(name, seconds))
    audio_s = sum(map(len, clips)) / SAMPLE_RATE
    return {
        "audio_s_per_cpu_s": {name: round(audio_s / seconds, 1) for name, seconds in best.items()},
        "ours_over_nemo": round(best["nemo"] / best["ours"], 2),
        "texts_unlike_offline": {
            name: sum(map(str.__ne__, texts[name], texts["offline"])) for name in ways if name != "offline"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help=".nemo file, or tiny")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--contexts",
        nargs="+",
        default=[f"{left},{right}" for left, right in RELEASED_CONTEXTS],
        metavar="LEFT,RIGHT",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(resolve_base(options.model))
    as_the_script_does(model)
    with TemporaryDirectory() as folder:
        clips = clips_of(Path(folder), count=options.clips)
    results = {}
    for context in options.contexts:
        left, right = map(int, context.split(","))
        results[context] = measure(model, clips, context=(left, right), options=options)
    audio_s = round(sum(map(len, clips)) / SAMPLE_RATE, 1)
    print(json.dumps({"options": vars(options), "audio_s": audio_s, "contexts": results}))


if __name__ == "__main__":
    main()
