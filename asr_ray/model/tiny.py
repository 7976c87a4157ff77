"""A small model of the same class as Nemotron 3.5 ASR, for machines without a GPU.

Everything that a fine-tune touches has the shape of the released checkpoint: cache-aware FastConformer
with four attention contexts, 8x causal subsampling, 128 prompt slots, SentencePiece pieces with one tag
a locale, RNN-T decoder. Only the sizes are small, so that a step takes a fraction of a second on two cores.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, LOCALES, NUM_PROMPT_SLOTS
from asr_ray.model.nemo_file import MODEL_TARGET, quiet_nemo, sha256_of
from asr_ray.records import SAMPLE_RATE

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

ATT_CONTEXT_SIZES = ((56, 3), (56, 0), (56, 6), (56, 13))
"""Left and right attention context in 80 ms frames, in the order of the released checkpoint."""

VOCABULARY_SIZE = 1024
"""Pieces of the tiny tokenizer: 40 tags, some 150 characters of three scripts, the rest words and parts.

With fewer, a transcript has nearly as many tokens as the encoder has frames, and CTC needs more frames.
"""

_LOG_MEL_MEAN, _LOG_MEL_STD = -10.0, 3.5
"""Of synthetic speech at usual levels, over all mel bands; natural logarithm."""

BASE_MODEL = Path(__file__).parent / "assets" / "tiny-base.nemo"
BASE_RECORD = BASE_MODEL.with_suffix(".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinySize:
    """How small: with 1,024 pieces the defaults give 2.0 million parameters, 7.3 MB compressed."""

    d_model: int = 128
    num_layers: int = 4
    num_heads: int = 4
    ff_expansion: int = 3
    subsampling_channels: int = 64
    num_mels: int = 80
    prediction_hidden: int = 128
    prediction_layers: int = 1
    joint_hidden: int = 128
    dropout: float = 0.0


def base_model_path() -> Path:
    """Return the tiny base model that ships with the package, its digest checked.

    Raises:
        EnvironmentFault: the file is missing or not the one its record describes.
    """
    path, record = BASE_MODEL, BASE_RECORD
    fix = "install the package again, or build the file with `python -m asr_ray.testing.tiny_base`"
    if not (path.is_file() and record.is_file()):
        raise EnvironmentFault(f"the tiny base model {path} is not installed", fix=fix)
    expected = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    if sha256_of(path) != expected:
        raise EnvironmentFault(f"{path} is not the file that {record.name} describes", fix=fix)
    return path


def train_tokenizer(
    sentences_by_locale: Mapping[str, Sequence[str]],
    *,
    folder: Path,
    vocabulary_size: int = VOCABULARY_SIZE,
    tags: Sequence[str] = tuple(LOCALES),
) -> Path:
    """Train a SentencePiece BPE tokenizer with one piece `<xx-XX>` for each tag; return its folder.

    The locales are interleaved, so that each weighs the same in the merges. Every character of the
    sentences gets a piece (coverage 1.0); there is no begin or end piece, as in the released model.

    Raises:
        ConfigError: the vocabulary is too small for the characters, or too large for the sentences.
    """
    from sentencepiece import SentencePieceTrainer

    folder.mkdir(parents=True, exist_ok=True)
    sentences = [sentence for row in _interleaved(sentences_by_locale) for sentence in row]
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_prefix=str(folder / "tokenizer"),
            model_type="bpe",
            vocab_size=vocabulary_size,
            user_defined_symbols=[f"<{tag}>" for tag in tags],
            character_coverage=1.0,
            # Corpora are normalised when they are prepared; the default rules would add 0.24 MB here.
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            unk_id=0,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"no tokenizer of {vocabulary_size} pieces from {len(sentences)} sentences: {error}",
            fix="choose another vocabulary_size, or give more sentences",
        ) from error
    _write_nemo_vocabulary(folder)
    return folder


def build_tiny_model(
    tokenizer_folder: Path, *, seed: int, size: TinySize | None = None
) -> EncDecRNNTBPEModelWithPrompt:
    """Build a model with random weights, determined by `seed`, in evaluation mode on the CPU."""
    import torch
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt
    from omegaconf import OmegaConf

    config = OmegaConf.create(model_config(tokenizer_folder, size=size or TinySize()))
    with quiet_nemo(), torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = EncDecRNNTBPEModelWithPrompt(cfg=config)
        _scale_front_end(model.encoder.pre_encode)
        return model.eval()


def _scale_front_end(pre_encode: Any) -> None:
    """Start the subsampling where log-mel features of speech leave it with mean 0 and variance 1.

    Without normalisation (see `_preprocessor`) the features are far from 0, and with torch's default
    weights what changes over time is a hundredth of what is constant after three convolutions.
    """
    import torch

    convolutions = [layer for layer in pre_encode.conv if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer in convolutions:
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.bias.zero_()
        first = convolutions[0]
        first.weight.div_(_LOG_MEL_STD)
        first.bias.sub_(_LOG_MEL_MEAN * first.weight.sum(dim=(1, 2, 3)))
        frames = _LOG_MEL_MEAN + _LOG_MEL_STD * torch.randn(1, 512, pre_encode._feat_in)
        encoded, _ = pre_encode(frames, torch.tensor([512]))
        pre_encode.out.weight.div_(encoded.std(dim=1).mean())
        encoded, _ = pre_encode(frames, torch.tensor([512]))
        pre_encode.out.bias.sub_(encoded.mean(dim=(0, 1)))


def model_config(tokenizer_folder: Path, *, size: TinySize) -> dict[str, Any]:
    """Return the NeMo configuration of a tiny model."""
    return {
        "target": MODEL_TARGET,
        "sample_rate": SAMPLE_RATE,
        "subsampling_factor": 8,
        "compute_eval_loss": False,
        "log_prediction": False,
        "rnnt_reduction": "mean_batch",
        "model_defaults": _model_defaults(size),
        "tokenizer": {"dir": str(tokenizer_folder), "type": "bpe"},
        "preprocessor": _preprocessor(size),
        "encoder": _encoder(size),
        "decoder": _decoder(size),
        "joint": _joint(size),
        "decoding": _decoding(),
        "loss": {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0, "clamp": -1.0}},
    }


def _interleaved(sentences_by_locale: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Rows of one sentence a locale; a locale with fewer sentences starts again."""
    lists = [sentences for _, sentences in sorted(sentences_by_locale.items())]
    longest = max((len(sentences) for sentences in lists), default=0)
    cycled = [itertools.islice(itertools.cycle(sentences), longest) for sentences in lists]
    return list(zip(*cycled, strict=True))


def _write_nemo_vocabulary(folder: Path) -> None:
    """Write the `vocab.txt` that NeMo asks for: one piece a line, without the unknown piece."""
    lines = (folder / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    pieces = [line.split("\t")[0] for line in lines]
    (folder / "vocab.txt").write_text("\n".join(pieces[1:]) + "\n", encoding="utf-8")


def _model_defaults(size: TinySize) -> dict[str, Any]:
    return {
        "enc_hidden": size.d_model,
        "pred_hidden": size.prediction_hidden,
        "joint_hidden": size.joint_hidden,
        "initialize_prompt_feature": True,
        "num_prompts": NUM_PROMPT_SLOTS,
        "prompt_dictionary": dict(DEFAULT_PROMPT_SLOTS),
    }


def _preprocessor(size: TinySize) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": SAMPLE_RATE,
        # Statistics over the utterance are not known while it is still being spoken.
        "normalize": "NA",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": size.num_mels,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 0.0,
        "pad_to": 0,
    }


def _encoder(size: TinySize) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": size.num_mels,
        "feat_out": -1,
        "n_layers": size.num_layers,
        "d_model": size.d_model,
        "n_heads": size.num_heads,
        "ff_expansion_factor": size.ff_expansion,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": size.subsampling_channels,
        "causal_downsampling": True,
        "self_attention_model": "rel_pos",
        "att_context_size": [list(context) for context in ATT_CONTEXT_SIZES],
        "att_context_style": "chunked_limited",
        "att_context_probs": None,
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": 9,
        "conv_norm_type": "layer_norm",
        "conv_context_size": "causal",
        "dropout": size.dropout,
        "dropout_pre_encoder": size.dropout,
        "dropout_emb": 0.0,
        "dropout_att": size.dropout,
        # Positions for 50 s are there from the start, so the ranks need not agree on a length at each step.
        "sync_max_audio_length": False,
    }


def _decoder(size: TinySize) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.RNNTDecoder",
        "normalization_mode": None,
        "random_state_sampling": False,
        "blank_as_pad": True,
        "prednet": {
            "pred_hidden": size.prediction_hidden,
            "pred_rnn_layers": size.prediction_layers,
            "t_max": None,
            "dropout": size.dropout,
        },
    }


def _joint(size: TinySize) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.RNNTJoint",
        "log_softmax": None,
        "preserve_memory": False,
        "fuse_loss_wer": True,
        "fused_batch_size": 2,
        "jointnet": {"joint_hidden": size.joint_hidden, "activation": "relu", "dropout": size.dropout},
    }


def _decoding() -> dict[str, Any]:
    return {
        "strategy": "greedy_batch",
        "strip_lang_tags": True,
        "lang_tag_pattern": r"\s*<[a-z]{2,3}-[A-Z]{2}>",
        "greedy": {"max_symbols": 10},
    }
