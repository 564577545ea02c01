"""Published weights by name: the table, the folders, and casvit://NAME."""

import hashlib
import subprocess
from pathlib import Path

import fresh
import pytest

from casvit.configs import config_path
from casvit.errors import CheckpointError
from casvit.tables import ARCHITECTURES, PUBLISHED_WEIGHTS
from casvit.weights import digest
from casvit.weights.find import local_path, named_weights, weights_folder
from casvit.weights.listing import listed

REPOSITORY = Path(__file__).parents[2]
M = PUBLISHED_WEIGHTS['cas-vit-m']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.delenv('CASVIT_WEIGHTS', raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b'weights')
    return file


def test_every_published_file_has_a_shipped_config_and_an_address_of_its_own():
    assert len(PUBLISHED_WEIGHTS) == 20
    assert len({weights.address for weights in PUBLISHED_WEIGHTS.values()}) == 20
    for name, weights in PUBLISHED_WEIGHTS.items():
        assert weights.name == name
        assert f'-{weights.size}' in name
        assert Path(config_path(weights.config)).is_file()


def test_every_size_starts_from_published_weights_of_its_own():
    for size, architecture in ARCHITECTURES.items():
        if architecture.checkpoint:
            weights = named_weights(architecture.checkpoint)
            assert (weights.size, weights.task) == (size, 'classification')


def test_a_path_without_the_scheme_stays_as_it_is():
    for path in ('checkpoints/cas-vit-m.pth', 'https://example.org/a.pth', 'my:casvit://x', ''):
        assert local_path(path) == path
        assert named_weights(path) is None
    assert local_path(Path('a', 'b.pth')) == str(Path('a', 'b.pth'))


def test_a_name_stands_for_the_file_in_checkpoints(here):
    put(here / 'checkpoints' / 'cas-vit-m.pth')
    assert local_path('casvit://cas-vit-m') == str(Path('checkpoints', 'cas-vit-m.pth'))
    # Code that makes a Path of any path loses a slash.
    assert local_path(Path('casvit://cas-vit-m')) == str(Path('checkpoints', 'cas-vit-m.pth'))


def test_the_folder_of_the_environment_comes_first_and_checkpoints_is_still_searched(
    here, monkeypatch
):
    put(here / 'checkpoints' / 'cas-vit-m.pth')
    monkeypatch.setenv('CASVIT_WEIGHTS', str(here / 'shared'))
    assert weights_folder() == here / 'shared'
    assert local_path('casvit://cas-vit-m') == str(Path('checkpoints', 'cas-vit-m.pth'))
    file = put(here / 'shared' / 'cas-vit-m.pth')
    assert local_path('casvit://cas-vit-m') == str(file)


def test_the_folder_of_the_environment_may_start_in_the_home_folder(here, monkeypatch):
    monkeypatch.setenv('HOME', str(here))
    monkeypatch.setenv('CASVIT_WEIGHTS', '~/weights')
    assert weights_folder() == here / 'weights'


def test_absent_weights_are_reported_with_the_command_that_gets_them(here, monkeypatch):
    with pytest.raises(CheckpointError) as error:
        local_path('casvit://cas-vit-m')
    assert 'no cas-vit-m.pth in checkpoints.' in str(error.value)
    assert '`casvit weights get cas-vit-m`' in str(error.value)
    monkeypatch.setenv('CASVIT_WEIGHTS', str(here / 'shared'))
    with pytest.raises(CheckpointError, match=r'shared or checkpoints\.'):
        local_path('casvit://cas-vit-m')


@pytest.mark.parametrize(
    'name, near',
    [
        ('cas-vit-m.pth', 'cas-vit-m'),
        ('CAS-ViT-M', 'cas-vit-m'),
        ('mask_rcnn_casvit-s', 'mask_rcnn_casvit-s_fpn_1x_coco'),
        ('casvit-t', 'cas-vit-t'),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, near):
    with pytest.raises(CheckpointError) as error:
        local_path(f'casvit://{name}')
    assert repr(name) in str(error.value)
    suggested = str(error.value).split('Did you mean ')[1].split('?')[0].split(' or ')
    assert near in suggested


def test_a_name_that_resembles_nothing_is_answered_with_the_list():
    with pytest.raises(CheckpointError, match=r"named '§'\. `casvit weights` lists all names"):
        local_path('casvit://§')


def test_the_list_has_every_name_and_figure_and_says_where_files_are(here):
    file = put(here / 'checkpoints' / 'cas-vit-m.pth')
    lines = list(listed())
    for weights in PUBLISHED_WEIGHTS.values():
        (line,) = [line for line in lines if line.split()[:1] == [weights.name]]
        assert weights.figure in line
        there = str(file.relative_to(here)) if weights is M else 'not downloaded'
        assert there in line
    assert 'as published, not measured here' in lines[0]


def test_the_documentation_lists_the_same_weights():
    page = (REPOSITORY / 'docs' / 'weights.md').read_text(encoding='utf-8')
    rows = [line for line in page.splitlines() if 'drive.google.com' in line]
    assert rows == [
        f'| [`{each.name}`]({each.address}) | {each.dataset} | {each.figure} |'
        for each in PUBLISHED_WEIGHTS.values()
    ]


def test_the_list_needs_neither_torch_nor_openmmlab():
    fresh.run(
        """
        import sys
        from casvit.cli.main import main
        assert main(['weights']) == 0
        heavy = {'torch', 'mmengine', 'casvit_mm', 'gdown', 'requests'}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )


def test_a_recorded_digest_is_that_of_sha256sum(here):
    file = put(here / 'cas-vit-m.pth')
    digest.record(file)
    recorded = digest.digest_file(file).read_text()
    assert recorded == f'{hashlib.sha256(b"weights").hexdigest()}  cas-vit-m.pth\n'
    digest.require_unchanged(file)
    done = subprocess.run(['sha256sum', '--check', 'cas-vit-m.pth.sha256'], capture_output=True)
    assert done.returncode == 0


def test_a_file_that_changed_since_it_was_recorded_is_reported(here):
    file = put(here / 'cas-vit-m.pth')
    digest.require_unchanged(file)
    digest.record(file)
    file.write_bytes(b'Weights')
    with pytest.raises(CheckpointError, match=r'has changed since its SHA-256 was recorded'):
        digest.require_unchanged(file)
    # As other tools write it.
    digest.digest_file(file).write_text(hashlib.sha256(b'Weights').hexdigest().upper())
    digest.require_unchanged(file)


@pytest.mark.parametrize(
    'content', [b'', b'no digest\n', b'\xff\xfe\x00', b'abc123  cas-vit-m.pth']
)
def test_a_damaged_record_is_reported(here, content):
    file = put(here / 'cas-vit-m.pth')
    digest.digest_file(file).write_bytes(content)
    with pytest.raises(CheckpointError, match=r'sha256 holds no SHA-256'):
        digest.require_unchanged(file)
