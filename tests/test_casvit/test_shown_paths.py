"""Paths as a person would type them."""

from pathlib import Path

import pytest

from casvit.sentences import from_here


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a folder in it, which is the current one."""
    (tmp_path / 'home/project').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('USERPROFILE', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path / 'home/project')
    return tmp_path / 'home'


@pytest.mark.parametrize(
    ('path', 'shown'),
    [
        ('{home}/project/work_dirs/a', str(Path('work_dirs/a'))),
        ('{home}/project', str(Path('~/project'))),
        ('{home}/data/a b.json', str(Path('~/data/a b.json'))),
        ('{home}', '{home}'),
        ('{home}/../elsewhere', str(Path('~/../elsewhere'))),
        ('/mnt/data', '/mnt/data'),
        ('work_dirs/a', 'work_dirs/a'),
        ('../data', '../data'),
        ('casvit://cas-vit-s', 'casvit://cas-vit-s'),
        ('s3://bucket/a.pth', 's3://bucket/a.pth'),
    ],
)
def test_a_path_is_relative_to_this_folder_or_to_the_home(path, shown, home):
    assert from_here(path.format(home=home)) == shown.format(home=home)


def test_a_home_that_is_the_root_or_unknown_shortens_nothing(monkeypatch):
    monkeypatch.chdir('/')
    monkeypatch.setenv('HOME', '/')
    assert from_here('/mnt/data') == '/mnt/data'
