"""The socket between the process of a site and the ClientApps that ask it."""

import contextlib
import os
import re
import socket
import stat
import struct
import threading

import pytest

from f3ocus_jax.deployment.flower import frames, site_socket
from f3ocus_jax.errors import ConfigError, HostError, ProtocolError


@contextlib.contextmanager
def serving(folder, answer, connections):
    """A site that answers a number of connections in a thread, and then ends."""
    with site_socket.listening(folder) as server:

        def work():
            for _ in range(connections):
                connection, _ = server.accept()
                with connection:
                    site_socket.serve_one(connection, answer)

        thread = threading.Thread(target=work)
        thread.start()
        yield
        thread.join(60)
        assert not thread.is_alive()


def connected(folder):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(os.fspath(folder / site_socket.SOCKET))
    return connection


@pytest.mark.parametrize("size", [0, 1, 3 * frames.CHUNK_BYTES + 7])
def test_an_answer_is_that_of_the_site_byte_for_byte(tmp_path, size):
    task = os.urandom(size)
    with serving(tmp_path, lambda data: data[::-1], 1):
        assert site_socket.ask(tmp_path, task) == task[::-1]


def test_a_site_answers_one_process_after_the_other(tmp_path):
    tasks = []
    with serving(tmp_path, lambda data: tasks.append(data) or b"%d" % len(tasks), 3):
        assert [site_socket.ask(tmp_path, b"same") for _ in range(3)] == [b"1", b"2", b"3"]
    assert tasks == [b"same"] * 3


def test_only_the_same_user_may_connect_and_nothing_is_left(tmp_path):
    path = tmp_path / site_socket.SOCKET
    with site_socket.listening(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_the_socket_of_a_process_that_was_killed_is_replaced(tmp_path):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(os.fspath(tmp_path / site_socket.SOCKET))
    left.close()
    with serving(tmp_path, bytes.upper, 1):
        assert site_socket.ask(tmp_path, b"a") == b"A"


def test_a_file_at_the_place_of_the_socket_is_left_alone(tmp_path):
    path = tmp_path / site_socket.SOCKET
    path.write_text("kept")
    with pytest.raises(ConfigError, match="is no socket"), site_socket.listening(tmp_path):
        pass
    assert path.read_text() == "kept"


def test_a_path_that_linux_would_cut_is_refused(tmp_path):
    folder = tmp_path / ("x" * site_socket.LONGEST_PATH)
    with pytest.raises(ConfigError, match="longer than 107 bytes"), site_socket.listening(folder):
        pass


@pytest.mark.parametrize("is_left", [False, True], ids=["never started", "killed"])
def test_without_a_process_of_the_site_the_error_says_how_to_start_one(tmp_path, is_left):
    if is_left:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(os.fspath(tmp_path / site_socket.SOCKET))
    said = f"listens at {re.escape(str(tmp_path))}.* flower site --config CONFIG --workdir"
    with pytest.raises(HostError, match=said):
        site_socket.ask(tmp_path, b"a")


def test_a_site_that_ends_while_it_works_is_named(tmp_path):
    with site_socket.listening(tmp_path) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        with pytest.raises(HostError, match="ended before it answered"):
            site_socket.ask(tmp_path, b"a")
        thread.join(60)


BROKEN = {
    "nothing": b"",
    "half of a length": b"\0\0",
    "half of a frame": frames.LENGTH.pack(9) + b"abc",
    "a frame that is too long": frames.LENGTH.pack(frames.MOST_BYTES + 1),
    "text": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_a_process_that_sends_no_frame_does_not_stop_the_site(tmp_path, sent, caplog):
    tasks = []
    with serving(tmp_path, lambda data: tasks.append(data) or b"yes", 2):
        with connected(tmp_path) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        assert site_socket.ask(tmp_path, b"task") == b"yes"
    assert tasks == [b"task"]
    assert "a process sent no task" in caplog.text


def test_a_process_that_does_not_wait_for_its_answer_does_not_stop_the_site(tmp_path):
    gone = threading.Event()

    def answer(task):
        assert task != b"leaves" or gone.wait(60)
        return task * frames.CHUNK_BYTES

    with serving(tmp_path, answer, 2):
        with connected(tmp_path) as connection:
            frames.send(connection, b"leaves")
        gone.set()
        assert site_socket.ask(tmp_path, b"s") == b"s" * frames.CHUNK_BYTES


def test_a_silent_process_gives_way(caplog):
    ours, silent = socket.socketpair()
    with ours, silent:
        site_socket.serve_one(ours, lambda task: pytest.fail("there is no task"), idle=0.01)
    assert "a process sent no task: timed out" in caplog.text


def test_a_frame_that_is_too_long_is_refused_by_its_length_alone():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack(">Q", 11))
        with pytest.raises(ProtocolError, match="a frame has 11 bytes, may have 10"):
            frames.receive(ours, most=10)
