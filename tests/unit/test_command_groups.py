"""Groups, their help, former spellings, and what shells complete."""

import subprocess
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from tests.conftest import SettingsFactory
from updater.cli import FORMER, main
from updater.commands.common.groups import SECTIONS, CommandGroup


def call(*args: str, width: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, list(args), prog_name="updater", terminal_width=width)


def every_command(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("width", [80, 120])
def test_the_first_page_names_every_command_in_the_order_of_a_life(width: int) -> None:
    page = call("--help", width=width).stdout
    headings = [line.rstrip(":") for line in page.splitlines() if line.rstrip(":") in SECTIONS]
    assert headings == list(SECTIONS)
    for path, command in every_command():
        assert page.count(f"\n  {' '.join(path)} ") == 1
        # Whole, on one line: a page of contents is read by its left edge.
        assert f"  {command.get_short_help_str(1000)}\n" in page, path
    assert max(map(len, page.splitlines())) <= width


@pytest.mark.parametrize("name", [name for name, command in main.commands.items() if isinstance(command, click.Group)])
def test_a_group_alone_shows_its_commands(name: str) -> None:
    group = main.commands[name]
    assert isinstance(group, CommandGroup)
    page = call(name, "-h").stdout
    assert all(f"\n  {inner} " in page for inner in group.commands)
    assert call(name).stderr == page


@pytest.mark.parametrize("path", [path for path, _ in every_command()], ids=" ".join)
def test_every_help_page_fits(path: tuple[str, ...]) -> None:
    for width in (80, 120):
        done = call(*path, "--help", width=width)
        assert (done.exit_code, done.stderr) == (0, "")
        assert max(map(len, done.stdout.splitlines())) <= width
        assert "-h, --help" in done.stdout


def test_every_command_that_has_a_config_has_json_too() -> None:
    for path, command in every_command():
        options = {option for parameter in command.params for option in parameter.opts}
        if path not in (("demo",), ("new",), ("completion",)):
            assert {"--config", "--json", "--verbose", "--debug"} <= options, path


@pytest.mark.parametrize("former", FORMER)
def test_a_former_command_says_what_it_is_called_now(former: str) -> None:
    done, present = call(former, "--help"), call(*FORMER[former].split(), "--help")
    assert (done.exit_code, done.stdout) == (0, present.stdout)
    warning = f"`updater {former}` is now `updater {FORMER[former]}`; the former spelling goes with the next release."
    assert done.stderr == f"updater: {warning}\n"
    assert f"\n  {former} " not in call("--help").stdout


@pytest.mark.parametrize(
    ("args", "present"),
    [
        (("state", "verify", "--audit"), "--exact"),
        (("state", "verify", "--check"), "--fail-on-alert"),
        (("status", "--check"), "--fail-on-alert"),
        (("user", "erase", "--user-id", "u", "--prove"), "--verify"),
        (("user", "erase", "--from-file", "{ids}"), "--users-file"),
    ],
)
def test_a_former_option_does_what_the_present_one_does(
    make_settings: SettingsFactory, tmp_path_factory: pytest.TempPathFactory, args: tuple[str, ...], present: str
) -> None:
    config = str(make_settings().source)
    ids = tmp_path_factory.mktemp("ids") / "ids.txt"
    ids.write_text("u\n")
    given = [arg.format(ids=ids) for arg in args]
    former = next(arg for arg in reversed(given) if arg.startswith("--"))
    old = call(*given, "--config", config)
    new = call(*[present if arg == former else arg for arg in given], "--config", config)
    warning, rest = old.stderr.split("\n", 1)
    assert f" {former}` is now `{present}`" in warning
    assert (old.exit_code, rest) == (new.exit_code, new.stderr)
    assert former not in call(*given[: given.index(former)], "--help").stdout


def test_the_former_flag_is_the_present_one() -> None:
    seen: list[bool] = []

    from updater.commands.common.former import formerly

    @click.command()
    @click.option("--fail-on-alert", is_flag=True)
    @formerly("--check", "--fail-on-alert")
    def command(fail_on_alert: bool) -> None:
        seen.append(fail_on_alert)

    for args in ([], ["--check"], ["--fail-on-alert"]):
        assert CliRunner().invoke(command, args).exit_code == 0
    assert seen == [False, True, True]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("runn",), "No such command 'runn'; did you mean `updater run`?"),
        (("compact",), "did you mean `updater state compact`?"),
        (("state", "verfy"), "did you mean `updater state verify`?"),
        (("xyzzy",), "No such command 'xyzzy'."),
    ],
)
def test_an_unknown_command_names_the_nearest(args: tuple[str, ...], said: str) -> None:
    done = call(*args)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_this_program(shell: str) -> None:
    done = call("completion", shell)
    assert done.exit_code == 0
    assert "_UPDATER_COMPLETE" in done.stdout and "updater" in done.stdout


@pytest.mark.parametrize(
    ("typed", "wanted", "not_wanted"),
    [
        (["updater", ""], {"run", "plan", "model", "user", "state"}, {"verify", "train"}),
        (["updater", "state", "ver"], {"verify"}, {"compact"}),
        (["updater", "state", "verify", "--ex"], {"--exact"}, {"--audit"}),
        (["updater", "state", "verify", "--"], {"--sample", "--fail-on-alert"}, {"--audit", "--check"}),
    ],
)
def test_bash_completes(typed: list[str], wanted: set[str], not_wanted: set[str]) -> None:
    environ = {"_UPDATER_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
    done = CliRunner(env=environ).invoke(main, [], prog_name="updater", complete_var="_UPDATER_COMPLETE")
    found = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert wanted <= found
    assert not not_wanted & found


def test_bash_reads_the_script() -> None:
    script = call("completion", "bash").stdout
    done = subprocess.run(["bash", "-c", f"{script}\ncomplete -p updater"], capture_output=True, text=True, check=False)
    assert (done.returncode, "_updater_completion" in done.stdout) == (0, True), done.stderr
