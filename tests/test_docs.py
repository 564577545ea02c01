"""What README and docs show exists: commands, options, configs, targets, extras and links."""

import importlib
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
from documented import PAGES, REPOSITORY, Command, commands
from quick_runs import run_tool

from casvit.cli.main import COMMANDS
from casvit.configs import find_config
from casvit.exported.formats import FORMATS

COMMAND_FILES = {file: name for name, (file, _) in COMMANDS.items()}
ALL = list(commands())
# They need nothing, and take seconds.
QUICK = ('weights', 'print_config', 'get_flops')


def parsed(tool: str, arguments: list[str]):
    parser = ArgumentParser(allow_abbrev=False)
    importlib.import_module(f'casvit.cli.{tool}').add_arguments(parser)
    return parser.parse_args(arguments)


def require_config(name: str) -> None:
    """A config that is named, not one that stands for the reader's own."""
    if not re.fullmatch(r'[A-Z_]+|RUN/config\.py|my_\w+\.py', name):
        find_config(str(REPOSITORY / name) if name.startswith('configs/') else name)


def test_there_are_commands_on_most_pages():
    assert len(ALL) > 40
    assert len({command.page for command in ALL}) > 8


@pytest.mark.parametrize('command', ALL, ids=str)
def test_a_documented_command_exists_and_takes_its_arguments(command: Command):
    program, *arguments = command.words
    if command.tool:
        assert command.tool in COMMAND_FILES
        args = parsed(command.tool, command.arguments)
        for name in (getattr(args, 'config', None), *(getattr(args, 'configs', None) or ())):
            if name is not None:
                require_config(name)
    elif program.startswith('tools/') or (arguments[:1] and arguments[0].startswith('tools/slurm')):
        script, *arguments = command.words if program.startswith('tools/') else arguments
        assert (REPOSITORY / script).is_file()
        if 'slurm' in script:
            (_, _, config, work_dir), rest = arguments[:4], arguments[4:]
            parsed('train', [config, '--work-dir', work_dir, *rest])
        elif 'test' in script:
            config, checkpoint, gpus, *rest = arguments
            parsed('test', [config, checkpoint, *rest])
            assert int(gpus) > 0
        else:
            config, gpus, *rest = arguments
            parsed('train', [config, *rest])
            assert int(gpus) > 0
        require_config(config)
    elif program == 'sbatch':
        script, config, work_dir, *rest = (each for each in arguments if not each.startswith('--'))
        assert (REPOSITORY / script).is_file()
        parsed('train', [config, '--work-dir', work_dir, *rest])
    elif program == 'make':
        makefile = (REPOSITORY / 'Makefile').read_text()
        assert re.search(rf'^{arguments[0]}:', makefile, re.M), arguments
    elif program == 'python':
        assert arguments[0] == 'tools/install.py'
        told = (REPOSITORY / 'tools/install.py').read_text()
        assert all(f"'{each}'" in told for each in arguments if each.startswith('--'))
    else:
        # Extras are checked with the metadata; the rest is git, source and pip themselves.
        assert program in ('git', 'cd', 'source', 'pip', 'MMCV_WITH_OPS=1')


@pytest.mark.parametrize(
    'command',
    [each for each in ALL if each.tool in QUICK and not each.needs],
    ids=str,
)
def test_a_documented_command_of_seconds_runs(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_tool(command.tool, command.arguments) == 0


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_and_headings(page: Path):
    for target in re.findall(r'\]\((?!https?:)([^)\s]+)\)', page.read_text(encoding='utf-8')):
        name, _, heading = target.partition('#')
        linked = (page.parent / name) if name else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r'^#+ (.*)$', linked.read_text(encoding='utf-8'), re.M)
            slugs = {re.sub(r'[^\w\- ]', '', title).lower().replace(' ', '-') for title in titles}
            assert heading in slugs, target


def test_the_page_on_deployment_lists_what_each_format_can_hold():
    def word(value: bool) -> str:
        return 'yes' if value else 'no'

    page = (REPOSITORY / 'docs' / 'deploy.md').read_text(encoding='utf-8')
    for name, each in FORMATS.items():
        resizing = each.resizing if each.resizing != each.precisions else ('yes',)
        cells = [f'`{name}`', f'`{each.suffix}`', word(each.whole_detectors), word(each.dynamic)]
        cells += [
            ', '.join(resizing) or 'no',
            word('fp16' in each.precisions),
            word(each.runs_code),
        ]
        assert f'| {" | ".join(cells)} |' in page
