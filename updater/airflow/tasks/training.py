"""The tasks of the DAG that makes and promotes a model. XCom carries paths and names only."""

from typing import Any

from updater.settings import load_settings

Report = dict[str, Any]


def build_data(params: Report) -> int:
    """Build UserU from the lake. Returns its number of rows."""
    from updater.pipeline.init import create_ledger
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool
    from updater.training.build import build_data as build

    settings = load_settings(params["config"])
    create_ledger(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        return sum(built.num_rows for built in build(context, pool))


def pretrain(params: Report) -> str:
    """Pre-train a model. Returns its directory."""
    from updater.runtime.deployment import open_context
    from updater.training.launch import launch

    return launch(open_context(load_settings(params["config"]))).model


def tunable_scenarios(params: Report) -> list[str]:
    """Scenarios that a label task names."""
    from updater.training.tuning.tune import tunable_scenarios as find

    return find(load_settings(params["config"]))


def tune(model: str, scenario: str, params: Report) -> str:
    """Tune one scenario's prompt. Returns its file."""
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool
    from updater.training.tuning.tune import tune_scenarios

    context = open_writable(load_settings(params["config"]))
    with ProcessPool(context.settings, context.now) as pool:
        return tune_scenarios(context, pool, model, [scenario])[0].prompt


def join_prompts(model: str, params: Report) -> str:
    """Put a model and its prompts together. Returns the tuned model's directory."""
    from updater.runtime.deployment import open_context
    from updater.training.tuning.tune import join_prompts as join

    return join(open_context(load_settings(params["config"])), model)


def evaluate(model: str, params: Report) -> str:
    """Evaluate a tuned model beside the live one. Returns the report's file."""
    from updater.evaluation.evaluate import evaluate as run_evaluation
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    context = open_writable(load_settings(params["config"]))
    with ProcessPool(context.settings, context.now) as pool:
        return run_evaluation(context, pool, model).report_file


def check_gate(report: str) -> None:
    """Raise VerificationError if the evaluation says that the model must not go live."""
    from updater.evaluation.report import raise_if_worse

    raise_if_worse(report)


def fidelity(model: str, params: Report) -> str | None:
    """Ask what the model keeps of the users of the newest window, beside the live one. Returns the report's file; None
    before the first window, and for a state whose live model is untrained.
    """
    from updater.fidelity.run import measure_fidelity
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    context = open_writable(load_settings(params["config"]))
    watermark = context.ledger.watermark()
    if watermark is None or not context.live_model().trained:
        return None
    output = context.layout.candidate_fidelity(watermark)
    with ProcessPool(context.settings, context.now) as pool:
        return measure_fidelity(context, pool, watermark, model=model, output=output).report_file


def check_fidelity(report: str | None) -> None:
    """Raise VerificationError if the model forgets what the live one keeps."""
    from updater.fidelity.gate import raise_if_lost

    if report is not None:
        raise_if_lost(report)


def promote(model: str, params: Report) -> str:
    """Make a model live. Returns its version's name."""
    from updater.pipeline.versions.promote import promote as make_live
    from updater.pipeline.versions.promote import resolve_model
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    context = open_writable(load_settings(params["config"]))
    with ProcessPool(context.settings, context.now) as pool:
        return make_live(context, pool, resolve_model(context, None, model), None).model
