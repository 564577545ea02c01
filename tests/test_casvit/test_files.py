"""Files and folders appear complete, or not at all."""

from pathlib import Path

import pytest

from casvit.files import is_file, why_unwritable, write_whole, written_whole


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob('*.txt')}


def fill(folder, text):
    (folder / 'inner').mkdir(parents=True)
    (folder / 'a.txt').write_text(text)
    (folder / 'inner/b.txt').write_text(text)


def test_a_file_is_written_with_the_folder_that_it_is_in(tmp_path):
    file = tmp_path / 'new' / 'a.txt'
    write_whole(file, 'é')
    assert file.read_bytes() == 'é'.encode()
    write_whole(file, b'\xff')
    assert file.read_bytes() == b'\xff'
    assert [*file.parent.iterdir()] == [file]


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_what_fails_halfway_leaves_nothing_new_and_the_old_as_it_was(tmp_path, kind):
    place = tmp_path / 'place'
    if kind == 'file':
        place.write_text('old')
    else:
        fill(place, 'old')
    with pytest.raises(ZeroDivisionError), written_whole(place, replace=True) as unfinished:
        if kind == 'file':
            unfinished.write_text('half')
        else:
            fill(unfinished, 'half')
        raise ZeroDivisionError
    assert [*tmp_path.iterdir()] == [place]
    assert place.read_text() == 'old' if kind == 'file' else set(content(place).values()) == {'old'}


@pytest.mark.parametrize('place', ['missing', 'empty'])
def test_a_folder_takes_a_free_place(tmp_path, place):
    folder = tmp_path / place
    if place == 'empty':
        folder.mkdir()
    with written_whole(folder) as unfinished:
        fill(unfinished, 'new')
        assert not folder.exists() or not content(folder)
    assert content(folder) == {'a.txt': 'new', 'inner/b.txt': 'new'}
    assert [*tmp_path.iterdir()] == [folder]


def test_a_folder_that_holds_something_is_replaced_only_if_that_is_asked_for(tmp_path):
    folder = tmp_path / 'set'
    fill(folder, 'old')
    (folder / 'more.txt').write_text('old')
    with pytest.raises(OSError), written_whole(folder) as unfinished:
        fill(unfinished, 'new')
    assert set(content(folder).values()) == {'old'}
    with written_whole(folder, replace=True) as unfinished:
        fill(unfinished, 'new')
    assert content(folder) == {'a.txt': 'new', 'inner/b.txt': 'new'}
    assert [*tmp_path.iterdir()] == [folder]


def test_a_folder_whose_move_fails_is_put_back(tmp_path, monkeypatch):
    folder = tmp_path / 'set'
    fill(folder, 'old')
    rename = Path.rename

    def fail(self, target):
        if target == folder and self.suffix != '.old':
            raise PermissionError(13, 'Permission denied')
        return rename(self, target)

    monkeypatch.setattr(Path, 'rename', fail)
    with pytest.raises(PermissionError), written_whole(folder, replace=True) as unfinished:
        fill(unfinished, 'new')
    assert set(content(folder).values()) == {'old'}
    assert [*tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize('name', ['a' * 300, 'a\0b', 'missing', '.'])
def test_a_name_that_no_file_has_is_no_file(tmp_path, name):
    assert not is_file(tmp_path / name)


def test_a_folder_that_no_file_can_be_written_into_is_told_apart(tmp_path, monkeypatch):
    file = tmp_path / 'a'
    file.write_text('a')
    assert why_unwritable(tmp_path / 'new' / 'deep') == ''
    assert why_unwritable(file / 'new') == f'{file} is not a folder'
    # Root may write anywhere.
    monkeypatch.setattr('os.access', lambda path, mode: False)
    assert why_unwritable(tmp_path / 'new') == f'the folder {tmp_path} is read-only'
