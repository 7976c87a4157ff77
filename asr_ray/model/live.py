"""Speech to text while it is being spoken: streams of any language and age, decoded together.

    recogniser = Recogniser(model, att_context_size=(56, 3))
    stream = recogniser.open(prompt_slot=table.slots["el-GR"])
    stream.push(samples)                      # as they arrive, any number of them
    recogniser.advance([stream, *others])     # every chunk that is complete
    stream.text

Audio becomes features as it arrives, with the numbers that the whole recording would have given, so a
stream ends with the text of `decode.decode_offline`. A feature frame of 10 ms looks up to 16 ms ahead;
that, and the rest of the chunk, is how long a word waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asr_ray.contexts import AttContextSize
from asr_ray.errors import ConfigError
from asr_ray.model.inference import (
    Precision,
    Search,
    features_of,
    inference,
    text_of,
)
from asr_ray.model.streaming import Chunk, StreamState, chunk_from, join, new_streams, split, step

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


class LiveStream:
    """One speaker: audio in, text out. Made by `Recogniser.open`, moved on by `Recogniser.advance`.

    Attributes:
        prompt_slot: language of the stream.
        tokens: ids found so far.
        text: what they read.
    """

    def __init__(self, prompt_slot: int, *, state: StreamState) -> None:
        self.prompt_slot = prompt_slot
        self.tokens: list[int] = []
        self.text = ""
        self._state = state
        self._ended = False
        self._next_feature = 0
        # Samples from `_first_sample` on; what no feature needs any more is forgotten.
        self._audio, self._first_sample = torch.zeros(0), 0
        # [F, up to 9]: features that the next chunk reads again.
        self._past: Tensor | None = None

    def push(self, samples: Tensor) -> None:
        """Add float32 samples [N] at 16 kHz.

        Raises:
            ConfigError: the stream was ended.
        """
        if self._ended:
            raise ConfigError("audio for a stream that was ended", fix="open a new stream")
        self._audio = torch.cat([self._audio, samples.detach().to("cpu", torch.float32)])

    def end(self) -> None:
        """Say that no more audio comes, so that the rest is decoded by the next `advance`."""
        self._ended = True

    @property
    def num_samples(self) -> int:
        """Samples that were pushed."""
        return self._first_sample + len(self._audio)


@dataclass(frozen=True, slots=True)
class _Window:
    """Geometry of the features, from the checkpoint's preprocessor.

    Attributes:
        hop: samples from one frame to the next.
        ahead: samples that a frame needs behind its centre.
        margin: frames whose values change when the audio in front of them is cut off.
    """

    hop: int
    ahead: int
    margin: int

    def needed(self, num_features: int) -> int:
        """Samples that must have arrived for so many frames."""
        return (num_features - 1) * self.hop + self.ahead


class Recogniser:
    """Decodes live streams on one model; the model is left as it was found after each call."""

    def __init__(
        self,
        model: EncDecRNNTBPEModelWithPrompt,
        *,
        att_context_size: AttContextSize,
        precision: Precision = "fp32",
        keep_tags: bool = False,
    ) -> None:
        """Take a model in; arguments as `decode.decode_offline`.

        Raises:
            ConfigError: a left context that is not a number of whole chunks, or features that are
                normalised over the whole recording, which no stream can know.
        """
        featurizer = model.preprocessor.featurizer
        if featurizer.normalize in ("per_feature", "all_features") or featurizer.exact_pad:
            raise ConfigError(
                f"features with normalize={featurizer.normalize!r} cannot be had from a stream",
                fix="use a checkpoint whose preprocessor has normalize: NA and exact_pad: false",
            )
        self._model, self._keep_tags = model, keep_tags
        self._context, self._precision = att_context_size, precision
        ahead = featurizer.n_fft // 2
        # One sample more than half a window: pre-emphasis looks at the sample before.
        self._window = _Window(featurizer.hop_length, ahead, -(-(ahead + 1) // featurizer.hop_length))
        self._search = Search(model)
        with self._inference():
            self._blank = new_streams(model, torch.zeros(1, dtype=torch.int64))
            self._streaming = model.encoder.streaming_cfg

    def open(self, prompt_slot: int) -> LiveStream:
        """Begin a stream in one language."""
        slot = torch.tensor([prompt_slot], device=self._blank.prompt_slots.device)
        return LiveStream(prompt_slot, state=dataclasses.replace(self._blank, prompt_slots=slot))

    def advance(self, streams: Sequence[LiveStream]) -> int:
        """Decode every chunk that has arrived, all streams together; return how many chunks there were.

        The first chunks of a stream have a shape of their own, so streams that are that young form
        batches among themselves.
        """
        num_chunks = 0
        with self._inference():
            while ready := [(stream, chunk) for stream in streams if (chunk := self._ready(stream))]:
                by_past: defaultdict[int, list[tuple[LiveStream, Chunk]]] = defaultdict(list)
                for stream, chunk in ready:
                    by_past[chunk.past].append((stream, chunk))
                for batch in by_past.values():
                    self._step(batch)
                num_chunks += len(ready)
        return num_chunks

    def _ready(self, stream: LiveStream) -> Chunk | None:
        chunk = chunk_from(stream._next_feature, streaming=self._streaming)
        if stream.num_samples >= self._window.needed(chunk.stop):
            return chunk
        num_features = stream.num_samples // self._window.hop
        if stream._ended and num_features > chunk.start:
            return Chunk(chunk.start, min(chunk.stop, num_features), chunk.past)
        return None

    def _step(self, batch: Sequence[tuple[LiveStream, Chunk]]) -> None:
        streams, chunks = zip(*batch, strict=True)
        features, num_features = self._features(streams, chunks)
        state = join([stream._state for stream in streams], search=self._search)
        past = chunks[0].past
        done = step(self._model, state, features, num_features, past=past, search=self._search)
        states = split(done.state, search=self._search)
        for row, (stream, chunk) in enumerate(batch):
            stream._state = states[row]
            stream._next_feature = chunk.stop
            heard = features[row, :, : num_features[row]]
            stream._past = heard[:, -self._streaming.pre_encode_cache_size[1] :]
            if done.tokens[row]:
                stream.tokens += done.tokens[row]
                stream.text = text_of(self._model, stream.tokens, keep_tags=self._keep_tags)

    def _features(self, streams: Sequence[LiveStream], chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
        """Return features [B, F, past + chunk] of the next chunks, and their numbers [B]."""
        window = self._window
        margin = min(chunks[0].start, window.margin)
        cuts = []
        for stream, chunk in zip(streams, chunks, strict=True):
            first = (chunk.start - margin) * window.hop
            cuts.append(stream._audio[first - stream._first_sample :][: window.needed(chunk.stop) - first])
            forget = max(0, (chunk.stop - window.margin) * window.hop - stream._first_sample)
            # A copy: a slice would keep all that was pushed.
            stream._audio = stream._audio[forget:].clone()
            stream._first_sample += forget
        fresh, _ = features_of(
            self._model,
            torch.nn.utils.rnn.pad_sequence(cuts, batch_first=True),
            torch.tensor([len(cut) for cut in cuts]),
        )
        sizes = [chunk.stop - chunk.start for chunk in chunks]
        fresh = fresh[:, :, margin : margin + max(sizes)]
        known = [stream._past for stream in streams if stream._past is not None]
        features = torch.cat([torch.stack(known), fresh], dim=2) if known else fresh
        return features, torch.tensor(sizes, device=features.device) + chunks[0].past

    def _inference(self) -> contextlib.AbstractContextManager[None]:
        return inference(self._model, self._context, precision=self._precision)
