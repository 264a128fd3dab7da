"""Commands about users."""

from dataclasses import asdict
from datetime import date
from typing import Any, BinaryIO

import click

from updater import tables
from updater.commands.asking import explain, similar
from updater.commands.common.command import DAY, command_options, computes, print_result, progress_bar
from updater.commands.common.former import formerly
from updater.commands.common.groups import CommandGroup
from updater.commands.common.ids import read_ids
from updater.commands.serving import serve
from updater.domain.window import minute
from updater.settings import Settings

UNANSWERED = "the model was not trained to answer"


@click.group(cls=CommandGroup)
def user() -> None:
    """Embed, look up and erase users."""


def names_users(command: Any) -> Any:
    """The options by which users are named."""
    options = (
        click.option(
            "--user-id", "user_ids", multiple=True, metavar="U", help="The user's id in the lake; repeatable."
        ),
        click.option(
            "--users-file",
            type=click.File("rb"),
            metavar="FILE",
            help="File of ids: text with one per line, Parquet, or CSV with --users-column; - is standard input.",
        ),
        click.option(
            "--users-column",
            metavar="NAME",
            help="Column of the ids, where the file is a table: Parquet (default: user_id) or CSV with a header.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@user.command()
@names_users
@click.option("--query", help="Any question.")
@click.option("--scenario", help="A scenario of the config: its query, after its soft prompt if it has one.")
@click.option("--all", "everybody", is_flag=True, help="Everybody who has an event in the buffer.")
@click.option("--output", metavar="FILE", help="Parquet file to write, one row per user; needed for several users.")
@command_options
@computes
def embed(
    settings: Settings,
    as_json: bool,
    user_ids: tuple[str, ...],
    users_file: BinaryIO | None,
    users_column: str | None,
    query: str | None,
    scenario: str | None,
    everybody: bool,
    output: str | None,
) -> None:
    """Compute embeddings of users for one question.

    And how likely its yes is. By the live model, as of the newest committed window; nothing of the state is written.
    Users who are unknown or erased are named, and have no row in the file. With --all, a run that was killed goes on
    where it was.
    """
    from updater.pipeline.asking.everybody import embed_everybody
    from updater.pipeline.query import embed_users
    from updater.pipeline.query_file import embed_to_parquet
    from updater.runtime.deployment import open_context
    from updater.runtime.process_pool import ProcessPool

    if everybody and (user_ids or users_file):
        raise click.UsageError("--all is everybody; leave out --user-id and --users-file.")
    users = [*user_ids, *(read_ids(users_file, users_column) if users_file else [])]
    if output is None and everybody:
        raise click.UsageError("--all is too much for a terminal; name with --output a file for the embeddings.")
    if output is None and len(users) != 1:
        raise click.UsageError("Name one user, or several and with --output a file for their embeddings.")
    context = open_context(settings)
    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        if output is None:
            found = embed_users(context, pool, users, query, scenario)
            print_result(asdict(found[0]), as_json, show_embedding)
            return
        if everybody:
            report = embed_everybody(context, pool, query, scenario, output, progress)
        else:
            report = embed_to_parquet(context, pool, users, query, scenario, output, progress)
    print_result(asdict(report), as_json, show_embedding_file)


@user.command()
@click.option("--user-id", required=True, metavar="U", help="The user's id in the lake.")
@click.option("--why", is_flag=True, help="Show what each clause rests on: counts, shares, dates and event ids.")
@command_options
def profile(settings: Settings, as_json: bool, user_id: str, why: bool) -> None:
    """Print the textual profile of a user.

    From the stored events, as of the newest committed window; below it the text that a language model keeps of the
    user, if there is one. Nothing is written.
    """
    from updater.pipeline.profile import user_profile
    from updater.runtime.deployment import open_context

    report = asdict(user_profile(open_context(settings), user_id))
    print_result(report, as_json, show_profile_evidence if why else show_profile)


@user.command()
@click.option("--user-id", required=True, metavar="U", help="The user's id in the lake.")
@command_options
def pseudonym(settings: Settings, as_json: bool, user_id: str) -> None:
    """Print the pseudonym by which the state knows a user."""
    from updater.pipeline.user_ids import pseudonym_of
    from updater.runtime.deployment import open_context

    value = {"pseudonym": pseudonym_of(open_context(settings), user_id)}
    print_result(value, as_json, lambda found: tables.echo(found["pseudonym"]))


@user.command()
@names_users
@click.option("--verify", is_flag=True, help="Change nothing; search everywhere for the users; exit with 6 if found.")
@formerly("--prove", "--verify")
@formerly("--from-file", "--users-file", type=click.File("rb"))
@command_options
def erase(
    settings: Settings,
    as_json: bool,
    user_ids: tuple[str, ...],
    users_file: BinaryIO | None,
    users_column: str | None,
    verify: bool,
) -> None:
    """Remove users from everything but the lake, permanently.

    Rewrites the files that have their rows, and drops rows of theirs that land later.
    """
    from updater.pipeline.erase.proof import find, raise_if_found
    from updater.pipeline.erase.run import erase as remove
    from updater.runtime.deployment import open_context, open_writable

    users = [*user_ids, *(read_ids(users_file, users_column) if users_file else [])]
    with progress_bar(as_json) as progress:
        if not verify:
            print_result(asdict(remove(open_writable(settings), users, progress)), as_json, tables.show_erasure)
            return
        proof = find(open_context(settings), users, progress)
    print_result(asdict(proof), as_json, tables.show_erasure_proof)
    raise_if_found(proof)


@user.command()
@click.option("--from-date", type=DAY, required=True, help="First landing day to measure.")
@click.option("--to-date", type=DAY, required=True, help="Last landing day to measure.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=500, show_default=True, help="Number of users of each day."
)
@command_options
def utility(settings: Settings, as_json: bool, from_date: date, to_date: date, sample: int) -> None:
    """Measure how well textual profiles predict the next day.

    The text of the day before has to choose between the value of each of the day's events and a frequent other one.
    """
    from updater.pipeline.profile_utility import profile_utility
    from updater.runtime.deployment import open_context

    with progress_bar(as_json) as progress:
        report = profile_utility(open_context(settings), from_date, to_date, sample, progress)
    print_result(asdict(report), as_json, show_utility)


user.place("Run", serve)
user.place("Inspect", embed, similar, explain, profile, utility, pseudonym)
user.place("Maintain", erase)


def show_embedding(report: dict[str, Any]) -> None:
    """One user's result of `updater user embed`."""
    tables.echo(
        f"as of   {minute(report['as_of'])} UTC",
        f"model   {report['model']}" + ("" if report["trained"] else "  (untrained)"),
        f"query   {report['query']}",
        *_answer(report),
        f"[{', '.join(f'{value:.4f}' for value in report['embedding'])}]",
    )


def _answer(report: dict[str, Any]) -> list[str]:
    """The line of the answer; a scenario has none."""
    if report["scenario"] is not None:
        return []
    if report["answer"] is None:
        return [f"answer  none; {UNANSWERED}"]
    return [f"answer  {report['answer']:+.4f}  (log odds, above 0: likelier than among all users; to rank by)"]


def show_profile(report: dict[str, Any]) -> None:
    """The result of `updater user profile`."""
    tables.echo(
        f"as of    {minute(report['as_of'])} UTC",
        f"updater  {report['updater']}, {report['tokens']} tokens, newest event {_newest(report)}",
        report["text"],
    )
    if kept := report["language_model"]:
        said = f"updater  {kept['updater']}, as of {minute(kept['as_of'])} UTC"
        tables.echo(said, kept["text"] or "(withdrawn)")


def _newest(report: dict[str, Any]) -> str:
    return f"{minute(report['newest_event'])} UTC" if report["newest_event"] else "none"


def show_profile_evidence(report: dict[str, Any]) -> None:
    """The same with a line for each value that the text mentions."""
    show_profile(report)
    if not report["evidence"]:
        return
    rows = [
        [
            one["modality"],
            one["kind"],
            one["value"],
            one["events"],
            f"{one['long_share']:.1%}",
            f"{one['recent_share']:.1%}",
            (one["first"] or "")[:10],
            (one["last"] or "")[:10],
        ]
        for one in report["evidence"]
    ]
    names = ["modality", "said", "value", "events", "long-term share", "recent share", "first", "last"]
    tables.table("What it rests on", names, rows)
    # Ids may be long: a line each, not a column.
    ids = {f"{one['modality']} {one['value']}": ", ".join(one["event_ids"]) for one in report["evidence"]}
    tables.echo("Ids of the newest events of each:", *(f"  {value}: {own}" for value, own in ids.items()))


def show_utility(report: dict[str, Any]) -> None:
    """The result of `updater user utility`: a line per day, oldest first."""
    columns = ["ds", "users", "questions", "text decides", "text", "popularity", "embedding", "text above popularity"]
    names = ("profile", "popularity", "embedding", "above_popularity")
    rows = [
        [
            day["ds"],
            day["users"],
            day["questions"],
            _percent(day["decided"]),
            *(_with_error(day[name]) for name in names),
        ]
        for day in report["days"]
    ]
    title = "Events of a day, told by the textual profiles of the day before: % right ± standard error (half is chance)"
    tables.table(title, columns, rows)
    words = {
        "profile": "text",
        "popularity": "popularity",
        "embedding": "embedding",
        "above_popularity": "text above popularity",
        "above_embedding": "text above embedding",
    }
    told = [f"{word} {_with_error(report[name])}" for name, word in words.items() if report[name]]
    tables.echo(f"discounted mean: {', '.join(told) or 'nothing was asked'}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _with_error(share: dict[str, Any] | None) -> str:
    if share is None:
        return ""
    return f"{share['value']:.1%}" + ("" if share["error"] is None else f" ± {100 * share['error']:.1f}")


def show_embedding_file(report: dict[str, Any]) -> None:
    """Many users' result."""
    untrained = "" if report["trained"] else " (untrained)"
    what = "embeddings and answers" if report["num_answered"] else "embeddings"
    tables.echo(
        f"Wrote the {what} of {report['num_users']:,} users as of {minute(report['as_of'])} UTC, "
        f"by {report['model']}{untrained}, to {report['file']}."
    )
    if report["scenario"] is None and not report["num_answered"]:
        tables.echo(f"The column answer is null; {UNANSWERED}.")
    if report["num_kept"]:
        tables.echo(f"An earlier run had computed {report['num_kept']:,} of them.")
    if report["missing"]:
        tables.echo(report["missing"])
