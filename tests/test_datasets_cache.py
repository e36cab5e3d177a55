"""Where files come from: the data folder, the cache folder, and a server (here one on this machine)."""

import functools
import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

from da3d.datasets import cache
from da3d.datasets.cache import RemoteFile
from da3d.errors import FileError

CONTENT = b"rows of a small file\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PAGE = "https://example.org/data"


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """Folder whose files a local server delivers, and the address of that server."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An existing data folder and a cache folder that does not exist yet."""
    data, store = tmp_path / "data", tmp_path / "deep" / "cache"
    data.mkdir()
    monkeypatch.setenv("DA3D_DATA", str(data))
    monkeypatch.setenv("DA3D_CACHE", str(store))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return data, store


def test_a_download_is_checked_kept_and_not_repeated(served, folders):
    folder, address = served
    (folder / "small.txt").write_bytes(CONTENT)
    remote = RemoteFile(f"{address}/small.txt?dl=1", sha256=DIGEST, bytes=len(CONTENT))
    assert remote.name == "small.txt"
    assert cache.official(remote, PAGE, Path.read_bytes) == CONTENT
    assert (folders[1] / "small.txt").read_bytes() == CONTENT
    (folder / "small.txt").unlink()
    assert cache.official(remote, PAGE, Path.read_bytes) == CONTENT


def test_a_download_with_another_digest_leaves_nothing(served, folders):
    folder, address = served
    (folder / "small.txt").write_bytes(CONTENT + b"!")
    with pytest.raises(FileError, match=rf"did not deliver .*{PAGE} and put it into .* as small.txt"):
        cache.official(RemoteFile(f"{address}/small.txt", sha256=DIGEST), PAGE, Path.read_bytes)
    assert list(folders[1].iterdir()) == []


def test_a_download_of_another_size_leaves_nothing(served, folders):
    folder, address = served
    (folder / "small.txt").write_bytes(CONTENT)
    with pytest.raises(FileError, match=f"delivered {len(CONTENT)} bytes instead of 7"):
        cache.official(RemoteFile(f"{address}/small.txt", bytes=7), PAGE, Path.read_bytes)
    assert list(folders[1].iterdir()) == []


def test_a_download_that_its_reader_refuses_leaves_nothing(served, folders):
    folder, address = served
    (folder / "small.txt").write_bytes(b"<html>please register</html>")

    def refuse(path):
        raise FileError(f"{path.name} is a web page")

    with pytest.raises(FileError, match=r"small.txt is a web page"):
        cache.official(RemoteFile(f"{address}/small.txt"), PAGE, refuse)
    assert list(folders[1].iterdir()) == []


def test_the_digest_of_a_first_download_is_remembered(served, folders):
    folder, address = served
    (folder / "small.txt").write_bytes(CONTENT)
    remote = RemoteFile(f"{address}/small.txt", save_as="set/small.txt")
    assert cache.official(remote, PAGE, Path.read_bytes) == CONTENT
    beside = folders[1] / "set" / "small.txt.sha256"
    assert beside.read_text().strip() == DIGEST
    (folders[1] / "set" / "small.txt").write_bytes(b"changed on disk")
    with pytest.raises(
        FileError, match=r"is damaged: .*if the publisher has changed the file, delete .*sha256"
    ):
        cache.official(remote, PAGE, Path.read_bytes)
    (folders[1] / "set" / "small.txt").unlink()
    (folder / "small.txt").write_bytes(b"changed on the server")
    with pytest.raises(FileError, match=rf"did not deliver the file expected \(SHA-256 {DIGEST}\) \(if the"):
        cache.official(remote, PAGE, Path.read_bytes)
    beside.unlink()
    assert cache.official(remote, PAGE, Path.read_bytes) == b"changed on the server"


def test_files_that_are_read_together_are_kept_or_deleted_together(served, folders):
    folder, address = served
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    (folders[0] / "a").write_bytes(b"mine")
    remotes = [RemoteFile(f"{address}/{name}") for name in ("a", "b")]

    def refuse(paths):
        raise FileError(str([path.read_bytes() for path in paths]))

    with pytest.raises(FileError, match=r"mine.*b'b'"):
        cache.officials(remotes, PAGE, refuse)
    assert (folders[0] / "a").exists()
    assert list(folders[1].iterdir()) == []
    assert cache.officials(remotes, PAGE, lambda paths: [path.name for path in paths]) == ["a", "b"]


def test_files_for_a_person_to_fetch(folders):
    with pytest.raises(FileError, match=rf"a and b cannot be downloaded by a program. Get them .*{PAGE}"):
        cache.by_hand(["a", "b"], PAGE)
    for name in ("a", "b"):
        (folders[0] / name).write_bytes(CONTENT)
    assert cache.by_hand(["a", "b"], PAGE) == (folders[0] / "a", folders[0] / "b")
    (folders[0] / "MANIFEST.json").write_text(json.dumps({"files": [{"name": "b", "sha256": "0" * 64}]}))
    with pytest.raises(FileError, match="b is damaged"):
        cache.by_hand(["a", "b"], PAGE)


def test_a_file_that_the_user_provided_is_never_deleted(folders):
    given = folders[0] / "small.txt"
    given.write_bytes(b"something else")

    def refuse(path):
        raise FileError("no")

    with pytest.raises(FileError, match="no"):
        cache.official(RemoteFile("http://127.0.0.1:9/small.txt"), PAGE, refuse)
    with pytest.raises(FileError, match="is damaged"):
        cache.official(RemoteFile("http://127.0.0.1:9/small.txt", sha256=DIGEST), PAGE, Path.read_bytes)
    assert given.exists()


def test_a_missing_page_and_a_silent_server_say_what_to_do(served, folders):
    _, address = served
    for url in (f"{address}/absent.txt", "http://127.0.0.1:9/absent.txt"):
        with pytest.raises(
            FileError, match=r"could not be downloaded .* or set DA3D_DATA to a folder that has it"
        ):
            cache.official(RemoteFile(url), PAGE, Path.read_bytes)


def test_the_data_folder_is_asked_before_the_cache(folders):
    data, store = folders
    store.mkdir(parents=True)
    (store / "a").write_bytes(b"cache")
    assert cache.find(["a"]) == (store / "a",)
    (data / "a").write_bytes(b"data")
    assert cache.find(["a"]) == (data / "a",)


def test_files_that_belong_together_come_from_one_folder(folders):
    data, store = folders
    store.mkdir(parents=True)
    (data / "a").write_bytes(b"")
    (store / "b").write_bytes(b"")
    assert cache.find(["a", "b"]) is None
    assert cache.find([]) is None


def test_prepared_files_are_checked_against_the_manifest(folders):
    data, _ = folders
    (data / "sub").mkdir()
    (data / "sub" / "a").write_bytes(CONTENT)
    assert cache.prepared(["sub/a"]) == (data / "sub" / "a",)
    manifest = data / "MANIFEST.json"
    manifest.write_text(json.dumps({"files": [{"name": "sub/a", "sha256": DIGEST.upper()}]}))
    assert cache.prepared(["sub/a"]) == (data / "sub" / "a",)
    (data / "sub" / "a").write_bytes(CONTENT + b"?")
    with pytest.raises(FileError, match=r"sub/a is damaged: its SHA-256 is .* fetch it again, or correct"):
        cache.prepared(["sub/a"])


@pytest.mark.parametrize("text", ["{", "[]", '{"files": [{"sha256": "0"}]}', '{"files": 3}'])
def test_a_broken_manifest_is_named(folders, text):
    (folders[0] / "a").write_bytes(CONTENT)
    (folders[0] / "MANIFEST.json").write_text(text)
    with pytest.raises(FileError, match=r"MANIFEST.json cannot be read"):
        cache.prepared(["a"])


def test_without_settings_the_user_cache_is_used(monkeypatch):
    monkeypatch.delenv("DA3D_CACHE", raising=False)
    monkeypatch.setenv("DA3D_DATA", "")
    assert cache.cache_folder().name == "da3d"
    assert cache.data_folder() is None
