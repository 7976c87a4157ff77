"""Cache-aware streaming: chunk by chunk, each from its own audio and the caches of what came before.

A `StreamState` holds what streams remember between two chunks: the caches of the encoder, the state of the
search, the language. Streams are rows of it. They can be put together with others and taken apart again at
any chunk, so a batch may hold streams of other languages that began at other times
(`asr_ray.model.live`). Shape letters as in `asr_ray.model.inference`; L encoder layers, P left context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from asr_ray.contexts import AttContextSize
from asr_ray.model.inference import (
    Frames,
    Precision,
    Search,
    features_of,
    inference,
    project_prompt,
    text_of,
)

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What B streams remember between two chunks; row b of everything belongs to stream b.

    Attributes:
        prompt_slots: int64 [B], the language of each.
        channel: what the attention of each layer looks back on, [L, B, P, D].
        channel_length: how much of it is filled, int64 [B].
        time: what the convolution of each layer looks back on, [L, B, D, frames].
        search: one state of the decoder a stream, None before the first chunk.
    """

    prompt_slots: Tensor
    channel: Tensor
    channel_length: Tensor
    time: Tensor
    search: Any = None

    def __len__(self) -> int:
        return len(self.prompt_slots)


def new_streams(model: EncDecRNNTBPEModelWithPrompt, prompt_slots: Tensor) -> StreamState:
    """Return the state of streams that have heard nothing, at the context that `inference` has set."""
    channel, time, channel_length = model.encoder.get_initial_cache_state(
        batch_size=len(prompt_slots), dtype=torch.float32, device=model.device
    )
    return StreamState(
        prompt_slots=prompt_slots.to(model.device), channel=channel, channel_length=channel_length, time=time
    )


def join(states: Sequence[StreamState], *, search: Search) -> StreamState:
    """Put streams together into one batch; all or none of them have heard a chunk."""
    if len(states) == 1:
        return states[0]
    rows = [search.split(state.search, num_rows=len(state)) for state in states if state.search is not None]
    return StreamState(
        prompt_slots=torch.cat([state.prompt_slots for state in states]),
        channel=torch.cat([state.channel for state in states], dim=1),
        channel_length=torch.cat([state.channel_length for state in states]),
        time=torch.cat([state.time for state in states], dim=1),
        search=search.join(list(chain.from_iterable(rows))) if rows else None,
    )


def take(state: StreamState, rows: Tensor, *, search: Search) -> StreamState:
    """Return some streams of a batch; `rows` are their indices."""
    found = [] if state.search is None else search.split(state.search, num_rows=len(state))
    return StreamState(
        prompt_slots=state.prompt_slots[rows],
        channel=state.channel[:, rows],
        channel_length=state.channel_length[rows],
        time=state.time[:, rows],
        search=search.join([found[row] for row in rows.tolist()]) if found else None,
    )


def split(state: StreamState, *, search: Search) -> list[StreamState]:
    """Return each stream of a batch on its own."""
    found = [] if state.search is None else search.split(state.search, num_rows=len(state))
    return [
        StreamState(
            prompt_slots=state.prompt_slots[row : row + 1],
            channel=state.channel[:, row : row + 1],
            channel_length=state.channel_length[row : row + 1],
            time=state.time[:, row : row + 1],
            search=search.join(found[row : row + 1]) if found else None,
        )
        for row in range(len(state))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one chunk brought.

    Attributes:
        frames: of the chunk, for each stream.
        tokens: ids that each stream adds to its text.
    """

    frames: Frames
    tokens: Sequence[Sequence[int]]
    state: StreamState


def step(
    model: EncDecRNNTBPEModelWithPrompt,
    state: StreamState,
    features: Tensor,
    num_features: Tensor,
    *,
    past: int,
    search: Search,
) -> Step:
    """Encode and decode the next chunk of each stream.

    The 8x subsampling needs 9 feature frames before a chunk. At [56, 0] only 1 exists before the second
    chunk, and NeMo's buffer fills up with zeros in front; but the convolutions pad between their layers,
    where a zero frame is no longer zero, so its frames are off by some 1e-3 from there on. Here a chunk
    gets the past that exists, and exactly the frames that this past yields are dropped again.

    Args:
        features: [B, F, past + chunk], the chunk behind frames that were read before.
        num_features: int64 [B], of those with the past; only the last chunk of a stream may be short.
        past: feature frames in front of the chunk, see `Chunk`.
    """
    encoder = model.encoder
    encoded, num_frames, channel, time, channel_length = encoder.cache_aware_stream_step(
        processed_signal=features,
        processed_signal_length=num_features,
        cache_last_channel=state.channel,
        cache_last_time=state.time,
        cache_last_channel_len=state.channel_length,
        drop_extra_pre_encoded=-(-past // encoder.subsampling_factor),
    )
    frames = Frames(encoded=project_prompt(model, encoded, state.prompt_slots), num_frames=num_frames)
    tokens, found = search(frames, state.search)
    after = StreamState(
        prompt_slots=state.prompt_slots,
        channel=channel.float(),
        channel_length=channel_length,
        time=time.float(),
        search=found,
    )
    return Step(frames=frames, tokens=tokens, state=after)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk in feature frames from the beginning of the stream.

    Attributes:
        past: how many frames before `start` are read again.
    """

    start: int
    stop: int
    past: int


def chunk_from(start: int, *, streaming: Any) -> Chunk:
    """Return the chunk that begins at a feature frame.

    The first chunk is shorter: the first encoder frame looks at one feature frame, each later one at 8 more.

    Args:
        streaming: `encoder.streaming_cfg`, which follows the attention context.
    """
    first, later = streaming.chunk_size
    size = later if start else first
    return Chunk(start, start + size, min(start, streaming.pre_encode_cache_size[1]))


def decode_streaming(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    precision: Precision = "fp32",
    keep_tags: bool = False,
) -> list[str]:
    """Transcribe chunk by chunk, with the encoder's caches and the decoder's state carried along.

    Arguments and errors as `decode.decode_offline`, and the same text.
    """
    tokens: list[list[int]] = [[] for _ in num_samples]
    with inference(model, att_context_size, precision=precision):
        for rows, chunk in _stream(model, audio, num_samples, prompt_slots):
            for row, new in zip(rows, chunk.tokens, strict=True):
                tokens[row] += new
    return [text_of(model, row, keep_tags=keep_tags) for row in tokens]


def encode_streaming(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    precision: Precision = "fp32",
) -> Frames:
    """Return the frames that `decode_streaming` decodes, its chunks put together."""
    parts: list[list[Tensor]] = [[] for _ in num_samples]
    with inference(model, att_context_size, precision=precision):
        for rows, chunk in _stream(model, audio, num_samples, prompt_slots):
            frames = chunk.frames
            for row, encoded, count in zip(rows, frames.encoded, frames.num_frames.tolist(), strict=True):
                parts[row].append(encoded[:, :count].T)
        encoded = torch.nn.utils.rnn.pad_sequence([torch.cat(row) for row in parts], batch_first=True)
    counts = [sum(map(len, row)) for row in parts]
    return Frames(encoded=encoded.transpose(1, 2), num_frames=torch.tensor(counts, device=encoded.device))


def _stream(
    model: EncDecRNNTBPEModelWithPrompt, audio: Tensor, num_samples: Tensor, prompt_slots: Tensor
) -> Iterator[tuple[list[int], Step]]:
    """Yield each step with the rows that take part in it; a stream leaves the batch when it has ended."""
    search, state = Search(model), new_streams(model, prompt_slots)
    features, num_features = features_of(model, audio, num_samples)
    rows, start = torch.arange(len(audio), device=model.device), 0
    while len(running := torch.nonzero(num_features > start).flatten()):
        if len(running) < len(rows):
            state = take(state, running, search=search)
            rows, features, num_features = rows[running], features[running], num_features[running]
        chunk = chunk_from(start, streaming=model.encoder.streaming_cfg)
        first, stop = chunk.start - chunk.past, min(chunk.stop, int(num_features.max()))
        done = step(
            model,
            state,
            features[:, :, first:stop],
            num_features.clamp(max=stop) - first,
            past=chunk.past,
            search=search,
        )
        yield rows.tolist(), done
        state, start = done.state, chunk.stop
