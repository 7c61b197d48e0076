"""One run per output folder."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from soma_isaac.batch.lock import LOCK_NAME, OutputLocked, RunLock


def test_twenty_races(tmp_path):
    """Eight at once, twenty times: one gets in, the others hear who did."""
    for race in range(20):
        folder = tmp_path / str(race)
        folder.mkdir()
        start, end = threading.Barrier(8), threading.Event()
        inside, refused = [], []

        def contend(folder=folder, start=start, end=end, inside=inside, refused=refused) -> None:
            start.wait()
            try:
                with RunLock(folder):
                    inside.append(1)
                    end.wait(10.0)
            except OutputLocked as error:
                refused.append(error)
                if len(refused) == 7:
                    end.set()

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(inside), len(refused)) == (1, 7)


def test_refusal_names_process_and_host(tmp_path):
    with RunLock(tmp_path), pytest.raises(OutputLocked) as caught, RunLock(tmp_path):
        pass
    assert f"process {os.getpid()} on host {socket.gethostname()!r}" in str(caught.value)


@pytest.mark.parametrize("left", [b"", b"\x1b[31m", b'{"pid": "x"}', b'{"pid": 1}', b"[]", b"\xff" * 9000])
def test_whatever_stands_in_the_lock_file(left, tmp_path):
    """A lock file that an older run, or a vandal, left behind locks nothing and is quoted without harm."""
    (tmp_path / LOCK_NAME).write_bytes(left)
    with RunLock(tmp_path):
        (tmp_path / LOCK_NAME).write_bytes(left)
        with pytest.raises(OutputLocked, match="has not said"), RunLock(tmp_path):
            pass


def test_lock_is_free_again_after_use(tmp_path):
    for _ in range(3):
        with RunLock(tmp_path):
            pass


def test_lock_file_that_is_a_link_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / LOCK_NAME).symlink_to(victim)
    with pytest.raises(OSError), RunLock(tmp_path):
        pass
    assert victim.read_bytes() == b"precious"
