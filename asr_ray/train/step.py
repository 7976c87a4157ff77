"""One training step, as the loop takes it and as the calibration measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asr_ray.errors import TrainingError
from asr_ray.model.objective import TransducerObjective
from asr_ray.model.prompt import add_locales
from asr_ray.records import Batch
from asr_ray.settings import OptimSettings, ResourceSettings, TrainSettings
from asr_ray.train.parts import choose_trained, override_spec_augment, parameter_groups


def set_up_torch(resources: ResourceSettings) -> None:
    """Set what holds for a whole training process."""
    if resources.threads_per_worker is not None:
        torch.set_num_threads(resources.threads_per_worker)
    # Vanishing gradients become denormal numbers, which CPUs multiply many times slower.
    torch.set_flush_denormal(True)


def objective_of(model: nn.Module, *, settings: TrainSettings, device: torch.device) -> TransducerObjective:
    """Return what a run minimises, on its device, with the contexts and frozen parts it asks for."""
    objective = TransducerObjective(
        model,  # type: ignore[arg-type]  # NeMo's class; a plain nn.Module for the type checker
        fastemit_lambda=settings.model.fastemit_lambda,
        auxiliary_ctc_weight=settings.model.auxiliary_ctc_weight,
    ).to(device)
    apply_model_settings(objective.model, settings=settings)
    return objective


def apply_model_settings(model: Any, *, settings: TrainSettings) -> None:
    """Set the contexts, SpecAugment, new locales, frozen parts and adapters that a run asks for."""
    # Otherwise every forward waits for all ranks, which validate different numbers of batches.
    model.encoder.sync_max_audio_length = False
    if settings.model.att_context_sizes is not None:
        contexts = [list(context) for context in settings.model.att_context_sizes]
        model.encoder.att_context_size_all = contexts
        model.encoder.att_context_probs = [1.0 / len(contexts)] * len(contexts)
    override_spec_augment(model, spec_augment=settings.model.spec_augment)
    add_locales(model, settings.model.new_locales or {})
    choose_trained(model, settings=settings.model, seed=settings.seed)


def trained_parameters(objective: nn.Module) -> list[nn.Parameter]:
    """Return the weights that are not frozen."""
    return [weight for weight in objective.parameters() if weight.requires_grad]


def optimizer_of(objective: nn.Module, *, optim: OptimSettings) -> torch.optim.Optimizer:
    """Return the optimizer of what is not frozen; its learning rates are set at each step."""
    groups = parameter_groups(objective, rates=optim.rates)
    return torch.optim.AdamW(groups, betas=optim.betas, weight_decay=optim.weight_decay)


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load the moments of a checkpoint; rates, betas and decay stay those of the configuration.

    Raises:
        TrainingError: other weights were trained then.
    """
    current = optimizer.state_dict()["param_groups"]
    if [len(group["params"]) for group in current] != [
        len(group["params"]) for group in saved["param_groups"]
    ]:
        raise TrainingError(
            "the checkpoint has the optimizer state of other weights than those that this run trains",
            fix="restore model.freeze, model.lora and model.auxiliary_ctc_weight, or choose a new run_dir",
        )
    optimizer.load_state_dict({**saved, "param_groups": current})


def batch_losses(network: nn.Module, batch: Batch, *, device: torch.device, bf16: bool) -> Tensor:
    """Return the loss of each utterance of a batch, [B].

    Args:
        network: the objective, or what wraps it for several ranks.
        bf16: compute under autocast to bfloat16.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        losses: Tensor = network(
            torch.from_numpy(batch.audio).to(device, non_blocking=True),
            num_samples=torch.from_numpy(batch.num_samples).to(device),
            tokens=torch.from_numpy(batch.tokens).to(device),
            num_tokens=torch.from_numpy(batch.num_tokens).to(device),
            prompt_slots=torch.from_numpy(batch.prompt_slots).to(device),
        )
    return losses


def move_weights(
    optimizer: torch.optim.Optimizer,
    *,
    parameters: Sequence[nn.Parameter],
    scale: float,
    rate: float,
    clip_norm: float,
) -> bool:
    """Scale and clip the gradients, take one optimizer step, drop the gradients.

    Args:
        rate: learning rate; each group of the optimizer takes its `lr_factor` of it.

    Returns:
        Whether the gradient was finite; the weights stay as they are when it was not.
    """
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    torch._foreach_mul_(gradients, scale)
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    finite = bool(torch.isfinite(norm))
    if finite:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return finite
