"""Downloading published weights, from a Google Drive on this machine."""

import sys
from pathlib import Path

import pytest
from drive import QUOTA, SIGN_IN, google_drive

from casvit.errors import CheckpointError, MissingPackageError
from casvit.tables import PUBLISHED_WEIGHTS
from casvit.weights.fetch import TransferError, fetch

gdown = pytest.importorskip('gdown')
M = PUBLISHED_WEIGHTS['cas-vit-m']
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def drive(tmp_path):
    with google_drive(tmp_path) as drive:
        drive.content = CONTENT
        yield drive


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'weights'


def is_content(file):
    """Stands for the check of a checkpoint."""
    if file.read_bytes() != CONTENT:
        raise CheckpointError('It is another file.')


def download(drive, folder, check=is_content):
    return fetch(M, folder, check, **drive.options, retries=0)


def refused(kind, drive, folder, check=is_content):
    """The sentence of a download that fails; nothing may be in the place of the file."""
    with pytest.raises(kind) as error:
        download(drive, folder, check)
    assert not (folder / 'cas-vit-m.pth').exists()
    sentence = str(error.value)
    # What to do by hand, complete.
    assert f'https://drive.google.com/file/d/{M.drive_id}/view' in sentence
    assert f'save the file as {folder / "cas-vit-m.pth"}' in sentence
    assert '`casvit weights check cas-vit-m`' in sentence
    return sentence


@pytest.mark.parametrize('confirms', [False, True])
def test_a_file_comes_whole_with_or_without_a_page_before_it(confirms, drive, folder):
    drive.confirms = confirms
    file = download(drive, folder)
    assert file == folder / 'cas-vit-m.pth'
    assert file.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [file]
    assert f'id={M.drive_id}' in drive.requests[0][1]
    assert len(drive.requests) == 1 + confirms


def test_no_cookies_are_kept(drive, folder):
    kept = Path(sys.modules['gdown.download'].DEFAULT_COOKIES_FILE)
    before = kept.stat().st_mtime_ns if kept.exists() else None
    download(drive, folder)
    assert (kept.stat().st_mtime_ns if kept.exists() else None) == before


def test_a_file_that_is_there_is_not_downloaded(drive, folder):
    folder.mkdir()
    (folder / 'cas-vit-m.pth').write_bytes(b'mine')
    assert download(drive, folder).read_bytes() == b'mine'
    assert not drive.requests


def test_an_interrupted_transfer_is_continued_by_the_next_call(drive, folder):
    drive.breaks_after = 600_000
    sentence = refused(TransferError, drive, folder)
    assert 'broke off after 524,288 bytes. Run the command again to continue it.' in sentence
    drive.breaks_after = None
    assert download(drive, folder).read_bytes() == CONTENT
    assert drive.ranges[-1] == 'bytes=524288-'
    assert [path.name for path in folder.iterdir()] == ['cas-vit-m.pth']


def test_a_transfer_that_cannot_be_continued_starts_again(drive, folder):
    drive.breaks_after = 600_000
    refused(TransferError, drive, folder)
    drive.breaks_after, drive.continues = None, False
    assert download(drive, folder).read_bytes() == CONTENT
    assert drive.ranges[-1] is None


def test_a_file_that_changed_between_two_parts_is_downloaded_again(drive, folder):
    drive.content = b'?' * len(CONTENT)
    drive.breaks_after = 600_000
    refused(TransferError, drive, folder)
    drive.content, drive.breaks_after = CONTENT, None
    assert download(drive, folder).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_not_kept(drive, folder):
    drive.content = CONTENT[:1000]
    sentence = refused(CheckpointError, drive, folder)
    assert 'What Google Drive sent for cas-vit-m is not kept: It is another file.' in sentence
    assert not list(folder.iterdir())
    drive.content = CONTENT
    assert download(drive, folder).read_bytes() == CONTENT
    assert drive.ranges[-1] is None


def test_a_page_under_the_name_of_the_file_is_refused(drive, folder):
    drive.content = b'\n<!DOCTYPE html><html><body>Blocked by the network</body></html>'
    sentence = refused(CheckpointError, drive, folder)
    assert 'it is a web page, not a checkpoint' in sentence


def test_too_many_downloads_by_others_are_reported_as_such(drive, folder):
    drive.page = QUOTA
    assert 'Try again later' in refused(TransferError, drive, folder)


def test_another_page_instead_of_the_file_is_reported(drive, folder):
    drive.page = SIGN_IN
    sentence = refused(TransferError, drive, folder)
    assert 'sent a page instead of cas-vit-m' in sentence
    assert 'Try again later' not in sentence


def test_a_certificate_that_is_not_trusted_is_reported_with_the_variable_to_set(drive, folder):
    with pytest.raises(TransferError, match='REQUESTS_CA_BUNDLE') as error:
        fetch(M, folder, is_content, proxy=drive.proxy, retries=0)
    assert 'certificate' in str(error.value).split('If this machine')[0]


def test_a_machine_without_network_is_told_so(drive, folder):
    drive.proxy = 'http://127.0.0.1:9'
    sentence = refused(TransferError, drive, folder)
    assert 'Google Drive cannot be reached (Connection refused)' in sentence
    assert 'HTTPS_PROXY' in sentence


def test_two_downloads_of_a_file_do_not_mix(drive, folder):
    sentences = []

    def check(file):
        with pytest.raises(TransferError) as error:
            download(drive, folder)
        sentences.append(str(error.value))

    download(drive, folder, check)
    assert sentences == [f'Another process is downloading {folder / "cas-vit-m.pth"}.']


def test_a_folder_that_cannot_be_written_is_named(drive, folder):
    folder.write_text('')
    with pytest.raises(TransferError, match=r'weights.* cannot be written: '):
        download(drive, folder)


def test_a_missing_package_is_reported_with_its_extra(drive, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gdown', None)
    sentence = refused(MissingPackageError, drive, folder)
    assert "pip install 'casvit-mm[weights]'" in sentence
