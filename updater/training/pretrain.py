"""Pre-training: contrastive, choice and next-token loss over UserU's pairs (arXiv 2602.14492, Eq. 3 to 6)."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from updater.domain.training import Training
from updater.model.batch import Int64
from updater.model.torch_internals import has_bfloat16
from updater.model.user_model import UserModel
from updater.training.checkpoints import load_checkpoint, save_checkpoint, trained_parameters
from updater.training.distributed import Rank, gather_numbers, gather_rows, sum_over_ranks
from updater.training.journal import Journal
from updater.training.lora import add_adapters, merge_adapters
from updater.training.losses import choice_loss_sum, contrastive_loss
from updater.training.memory import freed_memory_kept
from updater.training.pairs import PairTable, further_users, pairs_of_step, users_of_step
from updater.training.towers import Pairs, TowerOutput, Towers

BETAS = 0.9, 0.98
"""Of AdamW, as in the published code."""
LONGEST_WAIT = timedelta(minutes=10)
"""How long a process waits for the others before it takes them for dead."""
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
        directory: for checkpoints and the journal.
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
    journal = Journal(directory) if rank.is_first else None
    losses = {name: math.nan for name in ("contrastive", "choice", "facts", "next_token")}
    for step in range(begin, options.steps):
        # Dropout too follows from seed, step and process alone.
        torch.manual_seed(options.seed * 1_000_003 + step * 1_009 + rank.index)
        set_rate(optimizer, options, step)
        rows = users_of_step(table, options, step)[rank.share(options.users_per_step)]
        with autocast(options, pretrained):
            loss, losses = step_losses(wrapped, table, rows, options, step, rank)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(trained_parameters(towers).values(), options.clip_norm)
        optimizer.step()
        losses["gradient_norm"] = float(norm)
        if journal:
            journal.write(step + 1, losses)
            if (step + 1) % options.save_every == 0 and step + 1 < options.steps:
                save_checkpoint(directory, towers, optimizer, step + 1, recipe)
        if report:
            report(step + 1, losses)
    if journal:
        journal.close()
    if pretrained:
        merge_adapters(model)
    model.requires_grad_(True).eval()
    return Trained(options.steps, losses["contrastive"], losses["next_token"])


def step_losses(
    towers: nn.Module, table: PairTable, rows: Int64, options: Training, step: int, rank: Rank
) -> tuple[Tensor, dict[str, float]]:
    """The loss whose gradient, averaged over processes, is that of one process with all users."""
    further = further_users(table, int(rows[0]), options, step)[rank.index :: rank.count]
    batch, pairs = pairs_of_step(table, rows, options, step, further)
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
    log_shares_NA = torch.from_numpy(pairs.log_shares_BKA).flatten(0, 1).to(device)
    has_choice_N = log_shares_NA.isfinite().sum(dim=1) > 1
    num_choices = max(1.0, sum_over_ranks(float(has_choice_N.sum()), rank))
    choice_sum = choice_loss_sum(
        output.anchors_NE, output.answers_AE, own_N, log_shares_NA, temperature=options.temperature
    )
    choice = choice_sum * rank.count / num_choices
    facts_sum, num_facts = facts_loss_sum(output, pairs, options)
    num_facts = max(1.0, sum_over_ranks(num_facts, rank))
    num_tokens = max(1.0, sum_over_ranks(float(output.num_tokens), rank))
    next_token = output.next_token_sum * rank.count / num_tokens
    loss = options.contrastive_weight * contrastive + options.choice_weight * choice
    loss = loss + options.facts_weight * facts_sum * rank.count / num_facts
    loss = loss + options.next_token_weight * next_token
    told = {
        "contrastive": float(contrastive.detach()),
        "choice": sum_over_ranks(float(choice_sum.detach()), rank) / num_choices,
        "facts": sum_over_ranks(float(facts_sum.detach()), rank) / num_facts,
        "next_token": sum_over_ranks(float(output.next_token_sum.detach()), rank) / num_tokens,
    }
    return loss, told


def facts_loss_sum(output: TowerOutput, pairs: Pairs, options: Training) -> tuple[Tensor, float]:
    """What each embedding tells of the questions of the step that it was not asked; further users' tokens tell of all.

    An embedding that answers its own question alone keeps one direction of its user
    (docs/experiments/standardized-summaries.md).

    Returns:
        The choice loss, summed over embeddings and facts, and how many pairs of the two that are.
    """
    device = output.anchors_NE.device
    total, count = output.anchors_NE.new_zeros(()), 0.0
    for fact in pairs.facts:
        own_B, own_F = np.split(fact.own_G, [len(pairs.question_BK)])
        others_BK = (pairs.question_BK != fact.question) & (own_B >= 0)[:, None]
        own = np.concatenate([np.repeat(own_B, others_BK.sum(axis=1)), own_F[own_F >= 0]])
        others_N, told_F = torch.from_numpy(others_BK.ravel()), torch.from_numpy(own_F >= 0)
        total = total + choice_loss_sum(
            torch.cat([output.anchors_NE[others_N], output.further_FE[told_F]]),
            output.answers_AE[torch.from_numpy(fact.choices_C)],
            torch.from_numpy(own).to(device),
            torch.from_numpy(fact.log_shares_C).to(device),
            temperature=options.temperature,
        )
        count += len(own)
    return total, count


def make_optimizer(module: nn.Module, options: Training) -> torch.optim.AdamW:
    """AdamW whose decay spares vectors: norms, biases and learned tokens."""
    parameters = trained_parameters(module).values()
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS)


def set_rate(optimizer: torch.optim.Optimizer, options: Training, step: int) -> None:
    """Linear warm-up, then cosine decay to zero: a pure function of the step."""
    warmup = max(1, round(options.steps * options.warmup_share))
    if step < warmup:
        scale = (step + 1) / warmup
    else:
        scale = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, options.steps - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * scale


def autocast(options: Training, pretrained: bool) -> AbstractContextManager[object]:
    """bfloat16 products where they are asked for, or where they pay: wide layers on a processor that has them."""
    on = options.precision == "bfloat16" or (options.precision == "auto" and pretrained and has_bfloat16())
    return torch.autocast("cpu", torch.bfloat16) if on else nullcontext()
