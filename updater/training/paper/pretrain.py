"""The paper's pre-training: contrastive and next-token loss over UserU's pairs (arXiv 2602.14492, Eq. 3 to 6)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from updater.domain.declared.training import Training
from updater.model.batch import Int64
from updater.model.user_model import UserModel
from updater.training.paper.losses import contrastive_loss
from updater.training.paper.pairs import PairTable, pairs_of_step, users_of_step
from updater.training.paper.towers import Towers
from updater.training.steps.checkpoints import load_checkpoint, save_checkpoint, trained_parameters
from updater.training.steps.distributed import LONGEST_WAIT, Rank, gather_numbers, gather_rows, sum_over_ranks
from updater.training.steps.lora import add_adapters, merge_adapters
from updater.training.steps.memory import freed_memory_kept
from updater.training.steps.metrics_log import MetricsLogger
from updater.training.steps.precision import autocast
from updater.training.steps.schedule import Schedule, make_optimizer

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Trained:
    """How a training run ended."""

    steps: int
    contrastive: float
    """Loss of the last step."""
    next_token: float


@freed_memory_kept()
def pretrain(
    model: UserModel,
    table: PairTable,
    options: Training,
    directory: Path,
    recipe: str,
    rank: Rank | None = None,
    report: Report | None = None,
    device: str = "cpu",
) -> Trained:
    """Train `model` in place: all of it if its backbone is `tiny`, else low-rank adapters and everything around them.

    Run again after a kill, it goes on from the last checkpoint in `directory` and ends with the same bytes. The caller
    removes the checkpoints once the model is on disk.

    Args:
        model: float32; adapters are merged at the end.
        table: the pairs, the same in every process.
        options: the config.
        directory: for checkpoints and the metrics.
        recipe: digest of data and config; a checkpoint of another recipe is refused.
        rank: this process among those that train together.
        report: called with the steps done and their losses.
        device: `cpu`, `cuda` or `cuda:N`; of several processes on CUDA each takes a device of its own.

    Raises:
        ConfigError: no anchor day has as many profiles as a step takes, a library is missing, or the recipe differs.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    rank = rank or Rank()
    pretrained = model.config.backbone != "tiny"
    if pretrained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            add_adapters(model, options)
    model.train()
    for prompts in (model.soft_prompts, model.prototypes):
        prompts.requires_grad_(False)
    towers = Towers(model, table.vocabulary)
    if ":" in device and rank.count == 1:
        torch.cuda.set_device(device)
    accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)])
    towers.to(accelerator.device)
    optimizer = make_optimizer(towers, options)
    begin = load_checkpoint(directory, towers, optimizer, recipe)
    wrapped = accelerator.prepare_model(towers)
    metrics = MetricsLogger(directory) if rank.is_first else None
    losses = {name: math.nan for name in ("contrastive", "next_token")}
    schedule = Schedule(options.steps, options.learning_rate, options.warmup_steps)
    for step in range(begin, options.steps):
        # Dropout too follows from seed, step and process alone.
        torch.manual_seed(options.seed * 1_000_003 + step * 1_009 + rank.index)
        schedule.set(optimizer, step)
        rows = users_of_step(table, options, step)[rank.share(options.users_per_step)]
        with autocast(options, pretrained):
            loss, losses = step_losses(wrapped, table, rows, options, step, rank)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(trained_parameters(towers).values(), options.clip_norm)
        optimizer.step()
        losses["gradient_norm"] = float(norm)
        if metrics:
            metrics.write(step + 1, losses)
            if (step + 1) % options.save_every == 0 and step + 1 < options.steps:
                save_checkpoint(directory, towers, optimizer, step + 1, recipe)
        if report:
            report(step + 1, losses)
    if metrics:
        metrics.close()
    if pretrained:
        merge_adapters(model)
    model.requires_grad_(True).eval()
    return Trained(options.steps, losses["contrastive"], losses["next_token"])


def step_losses(
    towers: nn.Module, table: PairTable, rows: Int64, options: Training, step: int, rank: Rank
) -> tuple[Tensor, dict[str, float]]:
    """The loss whose gradient, averaged over processes, is that of one process with all users."""
    batch, pairs = pairs_of_step(table, rows, options, step)
    output = towers(batch, pairs)
    device = output.anchors_NE.device
    own_N = torch.from_numpy(pairs.answer_BK.ravel()).to(device)
    which = gather_numbers(torch.from_numpy(pairs.answer_ids[pairs.answer_BK.ravel()]).to(device), rank)
    anchors, answers = gather_rows(output.anchors_NE, rank), gather_rows(output.answers_AE[own_N], rank)
    contrastive = contrastive_loss(
        anchors,
        answers,
        variant=options.variant,
        temperature=options.temperature,
        margin=options.margin if step >= options.mask_after * options.steps else math.inf,
        same_BB=which[:, None] == which,
    )
    num_tokens = max(1.0, sum_over_ranks(float(output.num_tokens), rank))
    next_token = output.next_token_sum * rank.count / num_tokens
    loss = options.contrastive_weight * contrastive + options.next_token_weight * next_token
    losses = {
        "contrastive": float(contrastive.detach()),
        "next_token": sum_over_ranks(float(output.next_token_sum.detach()), rank) / num_tokens,
    }
    return loss, losses
