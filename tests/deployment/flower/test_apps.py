"""Flower's side of an exchange: messages, and the ClientApp that asks the process of a site."""

import subprocess
import sys
import threading

import pytest

pytest.importorskip("flwr", reason="Flower has an environment of its own, see docs/contributing.md")

from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from f3ocus_jax.deployment.flower import client_app, content, site_socket
from f3ocus_jax.errors import ConfigError, HostError


@pytest.fixture(autouse=True)
def _task(monkeypatch):
    """What Flower tells a process before an app of it makes messages."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def message_of(record, node=7):
    return Message(record, node, "query", ttl=60.0)


def context_of(node_config):
    return Context(run_id=1, node_id=7, node_config=node_config, state=RecordDict(), run_config={})


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 50_000])
def test_a_message_holds_the_bytes_that_it_was_made_of(data):
    assert content.unpack(message_of(content.pack(data))) == data


def test_a_message_that_holds_anything_else_is_refused():
    other = content.pack(b"1")
    other["more"] = content.pack(b"2")[content.KEY]
    for record in (RecordDict(), other):
        with pytest.raises(ValueError, match="none of this package"):
            content.unpack(message_of(record))


def test_the_client_app_answers_with_the_bytes_of_the_site(tmp_path):
    with site_socket.listening(tmp_path) as server:

        def work():
            connection, _ = server.accept()
            with connection:
                site_socket.serve_one(connection, bytes.upper)

        thread = threading.Thread(target=work)
        thread.start()
        task, context = message_of(content.pack(b"task")), context_of({"folder": str(tmp_path)})
        reply = client_app.app(task, context)
        thread.join(60)
    assert content.unpack(reply) == b"TASK"
    assert reply.metadata.reply_to_message_id == task.metadata.message_id


def test_a_node_without_a_folder_or_a_site_says_what_is_missing(tmp_path):
    task = message_of(content.pack(b"task"))
    with pytest.raises(ConfigError, match="needs --node-config 'folder="):
        client_app.app(task, context_of({}))
    with pytest.raises(HostError, match="no process of the site listens"):
        client_app.app(task, context_of({"folder": str(tmp_path)}))


def test_the_client_app_does_without_jax():
    code = (
        "import sys, f3ocus_jax.deployment.flower.client_app\n"
        "assert 'jax' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
