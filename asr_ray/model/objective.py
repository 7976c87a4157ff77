"""What training minimises: the transducer loss of a prompted model, with an optional CTC helper.

Shape letters: B utterances, N samples, T encoder frames, U tokens, D encoder width, H joint width,
V pieces of the vocabulary (the blank is V).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from asr_ray.errors import ConfigError
from asr_ray.model.inference import project_prompt
from asr_ray.model.transducer import transducer_loss

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

_ACTIVATIONS: dict[type[nn.Module], Literal["relu", "tanh", "sigmoid"]] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}


class TransducerObjective(nn.Module):
    """Loss of a batch under `EncDecRNNTBPEModelWithPrompt`, computed on packed lattice cells.

    Calls the model's own modules in the order of its `training_step`, except for the joint's output
    layer and the loss, which never exist as a [B, T, U, V] tensor.

    Args:
        model: the network to train; its dropout and SpecAugment follow `train()` and `eval()`.
        fastemit_lambda: FastEmit regularisation (arXiv:2010.11148), 0 switches it off.
        auxiliary_ctc_weight: share of a CTC loss on the prompted encoder frames. A transducer trained
            from nothing sits on a plateau for thousands of steps; the CTC head breaks it. It belongs
            to this module, so a saved model never contains it.
    """

    def __init__(
        self,
        model: EncDecRNNTBPEModelWithPrompt,
        *,
        fastemit_lambda: float = 0.0,
        auxiliary_ctc_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.fastemit_lambda = fastemit_lambda
        self.auxiliary_ctc_weight = auxiliary_ctc_weight
        self.activation, self.joint_dropout, self.joint_output = _joint_parts(model.joint.joint_net)
        self.blank = int(self.joint_output.out_features) - 1
        if auxiliary_ctc_weight:
            self.ctc_head = nn.Linear(model.cfg.model_defaults.enc_hidden, self.blank + 1)

    def forward(
        self, audio: Tensor, *, num_samples: Tensor, tokens: Tensor, num_tokens: Tensor, prompt_slots: Tensor
    ) -> Tensor:
        """Return the loss of each utterance, float32 [B].

        Args:
            audio: int16 [B, N].
            num_samples: [B].
            tokens: [B, U].
            num_tokens: [B].
            prompt_slots: [B], slots of the one-hot language prompt.
        """
        encoded, num_frames = self._encode(audio, num_samples=num_samples, prompt_slots=prompt_slots)
        predicted, _, _ = self.model.decoder(targets=tokens, target_length=num_tokens)
        joint = self.model.joint
        losses = transducer_loss(
            joint.project_encoder(encoded),
            joint.project_prednet(predicted.transpose(1, 2)),
            output_weight=self.joint_output.weight,
            output_bias=self.joint_output.bias,
            tokens=tokens,
            num_frames=num_frames,
            num_tokens=num_tokens,
            blank=self.blank,
            activation=self.activation,
            dropout=self.joint_dropout if self.training else 0.0,
            fastemit_lambda=self.fastemit_lambda,
        )
        if not self.auxiliary_ctc_weight:
            return losses
        ctc = self._ctc(encoded, num_frames=num_frames, tokens=tokens, num_tokens=num_tokens)
        return (1.0 - self.auxiliary_ctc_weight) * losses + self.auxiliary_ctc_weight * ctc

    def _encode(self, audio: Tensor, *, num_samples: Tensor, prompt_slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return prompted encoder frames [B, T, D] and their counts [B]."""
        # int16 travels, float is made at the last moment: half the bytes on every hop before.
        signal = audio.to(torch.float32) / 32768.0
        features, num_features = self.model.preprocessor(input_signal=signal, length=num_samples)
        if self.model.spec_augmentation is not None and self.training:
            features = self.model.spec_augmentation(input_spec=features, length=num_features)
        encoded, num_frames = self.model.encoder(audio_signal=features, length=num_features)
        return project_prompt(self.model, encoded, prompt_slots).transpose(1, 2), num_frames

    def _ctc(self, encoded: Tensor, *, num_frames: Tensor, tokens: Tensor, num_tokens: Tensor) -> Tensor:
        log_probs = self.ctc_head(encoded).float().log_softmax(dim=-1).transpose(0, 1)
        losses: Tensor = nn.functional.ctc_loss(
            log_probs, tokens, num_frames, num_tokens, blank=self.blank, reduction="none", zero_infinity=True
        )
        return losses


def _joint_parts(joint_net: Any) -> tuple[Literal["relu", "tanh", "sigmoid"], float, nn.Linear]:
    """Read activation, dropout and output layer from the joint's `Sequential`."""
    modules = list(joint_net)
    activation, output = _ACTIVATIONS.get(type(modules[0])), modules[-1]
    if activation is None or not isinstance(output, nn.Linear) or output.bias is None:
        names = ", ".join(type(module).__name__ for module in modules)
        raise ConfigError(
            f"the joint of this model is [{names}]; the packed loss knows activation, dropout, linear",
            fix="use a checkpoint of the Nemotron 3.5 family",
        )
    dropout = next((module.p for module in modules if isinstance(module, nn.Dropout)), 0.0)
    return activation, float(dropout), output
