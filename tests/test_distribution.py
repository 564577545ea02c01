"""The distribution: wheel, source archive and editable install, with only the base dependencies."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path

import pytest
import setuptools
from markdown_it import MarkdownIt
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.version import Version

import casvit

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('casvit', 'casvit_mm')
NOT_IGNORED = ('--others', '--exclude-standard')
BASE = {'numpy', 'pillow', 'pycocotools', 'tqdm'}
BASE_MODULES = ('numpy', 'PIL', 'pycocotools', 'tqdm')
HEAVY = ('torch', 'torchvision', 'cv2', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')

# Imports every module of casvit, and prints which heavy modules were imported with them.
IMPORT_ALL = f"""
import importlib, json, pkgutil, sys
import casvit
names = [module.name for module in pkgutil.walk_packages(casvit.__path__, 'casvit.')]
for name in names:
    importlib.import_module(name)
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps([casvit.__file__, names, heavy, casvit.config_path('mask_rcnn_casvit')]))
"""

# Simulates an environment with only the base dependencies: nothing else can be imported.
BLOCK_THE_REST = f"""
import sys
allowed = {{*sys.stdlib_module_names, 'casvit', 'casvit_mm', *{BASE_MODULES}}}
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] not in allowed:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Nothing())
"""


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    """Runs a command without PYTHONPATH, so that it uses the installed package."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    env.update(options.pop('env', {}))
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=env, **options
    )


def succeed(*command: object, **options) -> str:
    """Runs a command that has to succeed; returns its output."""
    answer = run(*command, **options)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def checkout(*kinds: str) -> set[str]:
    """The files that git tracks in the checkout, or others by its options."""
    if not (ROOT / '.git').exists() or not shutil.which('git'):
        pytest.skip('no checkout of git, which lists the files of the project')
    listing = succeed('git', 'ls-files', '--cached', *kinds, cwd=ROOT)
    return {name for name in listing.splitlines() if (ROOT / name).is_file()}


def build(kind: str, source: Path, out: Path) -> Path:
    """Builds one distribution with the installed setuptools, as pip and uv do."""
    if Version(setuptools.__version__) < Version('77'):
        pytest.skip(f'setuptools {setuptools.__version__} cannot build this package')
    code = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))'
    out.mkdir(exist_ok=True)
    return out / succeed(sys.executable, '-c', code, cwd=source).splitlines()[-1]


@pytest.fixture(scope='module')
def uv() -> list[str]:
    """The installer, which the set-up adds to the environment."""
    if find_spec('uv'):
        return [sys.executable, '-m', 'uv']
    found = shutil.which('uv')
    return [found] if found else pytest.skip('uv is not here, which installs the distributions')


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A copy of the checkout, because builds leave files and pick up those of earlier builds."""
    folder = tmp_path_factory.mktemp('source') / 'casvit_mm'
    for name in checkout(*NOT_IGNORED):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def sdist(source, tmp_path_factory) -> Path:
    return build('sdist', source, tmp_path_factory.mktemp('sdist'))


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory) -> Path:
    return build('wheel', source, tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def metadata(wheel) -> str:
    return read_wheel(wheel, 'METADATA').decode()


@pytest.fixture(scope='module')
def description(metadata) -> str:
    return message_from_string(metadata).get_payload()


def read_wheel(wheel: Path, name: str) -> bytes:
    """Reads a file of the wheel's `.dist-info`."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f'casvit_mm-{casvit.__version__}.dist-info/{name}')


def environment(folder: Path, uv: list[str]) -> Path:
    """Makes an empty environment; returns its interpreter."""
    succeed(*uv, 'venv', '--quiet', '--python', sys.executable, folder)
    return next(path for path in folder.glob('*/python*') if path.stem == 'python')


def test_the_wheel_holds_the_packages_and_the_configs_and_nothing_else(wheel):
    files = checkout(*NOT_IGNORED)
    ours = {name for name in files if name.split('/')[0] in PACKAGES}
    ours |= {
        f'casvit_mm/.mim/{name}' for name in files if name.startswith(('configs/', 'model-index'))
    }
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if '.dist-info/' not in name}
    assert there == ours
    assert {f'{name}/py.typed' for name in PACKAGES} <= there


def test_the_source_archive_holds_every_file_of_the_checkout_and_no_generated_ones(sdist):
    made_by_setuptools = re.compile(r'PKG-INFO|setup\.cfg|casvit_mm\.egg-info/.*')
    with tarfile.open(sdist) as archive:
        there = {member.name.split('/', 1)[1] for member in archive if member.isfile()}
    there = {name for name in there if not made_by_setuptools.fullmatch(name)}
    assert checkout() <= there <= checkout(*NOT_IGNORED)


def test_a_wheel_from_the_source_archive_equals_one_from_the_checkout(sdist, wheel, tmp_path):
    shutil.unpack_archive(sdist, tmp_path)
    (unpacked,) = tmp_path.iterdir()
    again = build('wheel', unpacked, tmp_path / 'dist')
    # RECORD lists every file with its hash.
    assert sorted(read_wheel(again, 'RECORD').split()) == sorted(
        read_wheel(wheel, 'RECORD').split()
    )


def test_the_metadata_are_valid_and_state_licence_version_and_python(metadata):
    read = Metadata.from_email(metadata, validate=True)
    assert read.license_expression == 'MIT'
    assert read.license_files == ['LICENSE']
    assert not any(name.startswith('License ::') for name in read.classifiers)
    assert str(read.version) == casvit.__version__
    assert read.requires_python.contains('3.10') and not read.requires_python.contains('3.13')
    assert read.keywords and 'Typing :: Typed' in read.classifiers
    assert all(address.startswith('https://') for address in read.project_urls.values())


def test_the_licence_itself_is_in_the_wheel(wheel):
    assert read_wheel(wheel, 'licenses/LICENSE') == (ROOT / 'LICENSE').read_bytes()


def test_the_base_needs_a_handful_of_packages_and_no_extra_brings_an_opencv(metadata):
    needed = [Requirement(text) for text in message_from_string(metadata).get_all('Requires-Dist')]
    assert {each.name for each in needed if not each.marker} == BASE
    assert not [each.name for each in needed if each.name.startswith('opencv')]
    for line in ('maintained', 'original'):
        chosen = [each for each in needed if each.marker and each.marker.evaluate({'extra': line})]
        assert any(each.name == 'casvit-mm' and each.extras == {'train'} for each in chosen)


def test_every_extra_that_a_message_or_page_names_exists_and_one_page_lists_all(metadata):
    extras = set(message_from_string(metadata).get_all('Provides-Extra'))
    pages = [*(ROOT / 'docs').glob('*.md'), ROOT / 'README.md']
    sources = [path for name in PACKAGES for path in (ROOT / name).rglob('*.py')]
    for path in (*pages, *sources):
        for found in re.findall(r'casvit-mm\[([\w,]+)\]', path.read_text(encoding='utf-8')):
            assert set(found.split(',')) <= extras, path
    listed = re.findall(r'^\| `(\w+)` \|', (ROOT / 'docs/install.md').read_text(), re.MULTILINE)
    assert set(listed) >= extras


def test_an_index_page_can_follow_every_link_of_the_description(description):
    tokens = [
        child for token in MarkdownIt().parse(description) for child in token.children or [token]
    ]
    links = [token.attrs['href'] for token in tokens if token.type == 'link_open']
    images = [token.attrs['src'] for token in tokens if token.type == 'image']
    assert links
    assert all(address.startswith('https://') for address in (*links, *images))


def test_the_description_matches_the_readme(description):
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    blocks = [token.content for token in MarkdownIt().parse(readme) if token.type == 'fence']
    assert blocks
    assert [t.content for t in MarkdownIt().parse(description) if t.type == 'fence'] == blocks
    named = re.findall(r'\]\((docs/\w+\.md)\)', readme)
    assert named and all(f'(`{page}`)' in description for page in named)
    headings = re.findall(r'^#+ .*$', readme, re.MULTILINE)
    assert re.findall(r'^#+ .*$', description, re.MULTILINE) == headings


@pytest.fixture(scope='module')
def installed(wheel, uv, tmp_path_factory) -> Path:
    """A folder with the wheel's files; the dependencies are those of the running environment."""
    folder = tmp_path_factory.mktemp('installed')
    options = ['--quiet', '--offline', '--no-deps', '--python', sys.executable]
    succeed(*uv, 'pip', 'install', *options, '--target', folder, wheel, cwd=folder)
    return folder


def test_an_installed_package_finds_its_configs_and_types(installed, tmp_path):
    env = {'PYTHONPATH': str(installed)}
    answer = succeed(sys.executable, '-c', IMPORT_ALL, cwd=tmp_path, env=env)
    file, _, _, config = json.loads(answer.splitlines()[-1])
    assert Path(file).parent == installed / 'casvit'
    shipped = installed / 'casvit_mm' / '.mim' / 'configs'
    assert Path(config) == shipped / 'detection' / 'mask_rcnn_casvit.py'
    # What casvit_mm.register_models() reads; OpenMMLab's own tools look for the index in .mim.
    assert (shipped / 'classification' / 'metafile.yml').is_file()
    assert (shipped.parent / 'model-index.yml').is_file()
    assert all((installed / name / 'py.typed').is_file() for name in PACKAGES)


def test_the_installed_program_starts(installed, tmp_path):
    program = installed / 'bin' / 'casvit'
    env = {'PYTHONPATH': str(installed)}
    assert 'COMMAND' in succeed(program, '--help', cwd=tmp_path, env=env)
    assert casvit.__version__ in succeed(program, '--version', cwd=tmp_path, env=env)


def test_an_editable_install_finds_the_configs_of_the_checkout(source, uv, tmp_path):
    editable = build('editable', source, tmp_path / 'dist')
    python = environment(tmp_path / 'venv', uv)
    options = ['--quiet', '--offline', '--no-deps', '--python', python]
    succeed(*uv, 'pip', 'install', *options, editable, cwd=tmp_path)
    code = "import casvit; print(casvit.__file__, casvit.config_path('mask_rcnn_casvit'))"
    file, config = succeed(python, '-I', '-c', code, cwd=tmp_path).split()
    assert Path(file) == source / 'casvit' / '__init__.py'
    assert Path(config) == source / 'configs' / 'detection' / 'mask_rcnn_casvit.py'


def test_no_module_of_casvit_needs_more_than_the_base_for_its_import(tmp_path):
    code = BLOCK_THE_REST + IMPORT_ALL
    answer = succeed(sys.executable, '-c', code, cwd=tmp_path, env={'PYTHONPATH': str(ROOT)})
    file, names, heavy, _ = json.loads(answer.splitlines()[-1])
    assert Path(file).parent == ROOT / 'casvit'
    assert {'casvit.configs', 'casvit.errors'} <= set(names)
    assert not heavy


@pytest.fixture(scope='module')
def base(wheel, uv, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with the wheel and its requirements."""
    folder = tmp_path_factory.mktemp('base')
    python = environment(folder / 'venv', uv)
    install = (*uv, 'pip', 'install', '--quiet', '--python', python)
    reached = run(*install, '--dry-run', 'tqdm', cwd=folder)
    if reached.returncode:
        pytest.skip(f'no package registry: {reached.stderr.strip()[-200:]}')
    succeed(*install, wheel, cwd=folder)
    return python


def test_the_base_installs_five_distributions_and_casvit_works_on_them(base, tmp_path):
    listing = 'import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()))'
    there = succeed(base, '-I', '-c', listing, cwd=tmp_path).split()
    assert set(there) == {'casvit-mm', *BASE}
    answer = succeed(base, '-I', '-c', IMPORT_ALL, cwd=tmp_path)
    _, _, heavy, config = json.loads(answer.splitlines()[-1])
    assert not heavy
    assert Path(config).is_file()


def test_the_program_starts_with_only_the_base_installed(base, tmp_path):
    program = base.with_name('casvit')
    assert 'COMMAND' in succeed(program, '--help', cwd=tmp_path)
    assert casvit.__version__ in succeed(program, '--version', cwd=tmp_path)
    assert 'COMMAND' in succeed(base, '-I', '-m', 'casvit', '--help', cwd=tmp_path)


def test_the_plugin_without_openmmlab_says_what_to_install(base, tmp_path):
    answer = run(base, '-I', '-c', 'import casvit_mm', cwd=tmp_path)
    last = answer.stderr.strip().splitlines()[-1]
    assert answer.returncode == 1
    assert "pip install 'casvit-mm[maintained]'" in last or 'tools/install.py' in last


@pytest.mark.parametrize('command', ['train', 'check', 'print_config', 'finetune'])
def test_a_command_without_openmmlab_says_what_to_install(command, base, tmp_path):
    arguments = [str(tmp_path), '--task', 'detection'] if command == 'finetune' else ['x']
    answer = run(base, '-I', '-m', 'casvit', command, *arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert f'casvit {command}: error: casvit {command} needs mmengine' in answer.stderr
    assert 'tools/install.py' in answer.stderr and 'Traceback' not in answer.stderr
