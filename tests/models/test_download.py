"""Published files come whole, with the right hash, once; everything else is told and leaves nothing behind."""

import hashlib
import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

import unpool
from unpool import models
from unpool.errors import EnvironmentFault
from unpool.models import pretrained
from unpool.models.download import cached_file, fetch

TENSORS = {"a": torch.arange(1000.0), "b": torch.ones(2, 3)}


class Server:
    """Serves bytes by name from this machine, cut where it is told to, and counts the requests."""

    def __init__(self):
        self.files, self.sent, self.requests, self.is_chunked = {}, {}, [], False
        house = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                house.requests.append(name)
                if name not in house.files:
                    self.send_error(404)
                    return
                whole = house.files[name]
                self.send_response(200)
                if house.is_chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                else:
                    self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                if house.is_chunked:
                    self.wfile.write(f"{len(whole):x}\r\n".encode())
                self.wfile.write(whole[: house.sent.get(name)])

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def put(self, tensors, *, name="net", sent=None, digest=None):
        """The address of a file in torch's form whose name says its hash, or another one."""
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        content = buffer.getvalue()
        full = f"{name}-{digest or hashlib.sha256(content).hexdigest()[:8]}.pth"
        self.files[full], self.sent[full] = content, sent
        return f"http://127.0.0.1:{self.http.server_port}/{full}"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    house = Server()
    yield house
    house.http.shutdown()
    house.http.server_close()


def left(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_file_is_downloaded_once_into_torchs_cache_and_prints_nothing(server, tmp_path, capsys):
    url = server.put(TENSORS)
    for _ in range(2):
        got = fetch(url)
        assert all(torch.equal(got[name], tensor) for name, tensor in TENSORS.items())
    assert len(server.requests) == 1
    assert left(tmp_path) == [cached_file(url)]
    assert cached_file(url).parent == tmp_path / "torch" / "hub" / "checkpoints"
    assert capsys.readouterr().out == ""


def test_wrong_hash_is_refused_and_nothing_stays(server, tmp_path):
    url = server.put(TENSORS, digest="0123abcd")
    with pytest.raises(EnvironmentFault, match=r"is not the published one .*0123abcd.* was not kept .*weights=FILE"):
        fetch(url)
    assert left(tmp_path) == []


@pytest.mark.parametrize("sent", [0, 700])
def test_download_that_breaks_off_is_refused_and_nothing_stays(server, tmp_path, sent):
    with pytest.raises(EnvironmentFault, match="was not kept"):
        fetch(server.put(TENSORS, sent=sent))
    assert left(tmp_path) == []


def test_connection_that_breaks_off_is_a_fault_of_the_machine_and_the_next_call_gets_the_whole_file(server, tmp_path):
    url = server.put(TENSORS, sent=700)
    server.is_chunked = True  # only so does the connection itself say that something is missing
    with pytest.raises(EnvironmentFault, match=r"cannot be downloaded to .*IncompleteRead.*weights=FILE"):
        fetch(url)
    assert left(tmp_path) == []
    server.is_chunked, server.sent = False, {}
    assert set(fetch(url)) == set(TENSORS)
    assert len(server.requests) == 2


def test_answer_that_is_not_http_is_a_fault_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as house:
        url = f"http://127.0.0.1:{house.getsockname()[1]}/net-0123abcd.pth"

        def answer():
            guest, _ = house.accept()
            with guest:
                guest.recv(4096)
                guest.sendall(b"hello\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(EnvironmentFault, match=r"cannot be downloaded to .*BadStatusLine"):
            fetch(url)
    assert left(tmp_path) == []


def test_damaged_file_in_the_cache_is_named_and_left_to_its_owner(server):
    url = server.put(TENSORS)
    fetch(url)
    cached_file(url).write_bytes(cached_file(url).read_bytes()[:-9])
    with pytest.raises(EnvironmentFault, match=r"net-.*\.pth is not the file published at .*; delete it"):
        fetch(url)
    assert len(server.requests) == 1


def test_offline_tells_what_was_tried_and_what_to_do(server, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net-0123abcd.pth"
        with pytest.raises(EnvironmentFault) as caught:
            fetch(url)
    told = str(caught.value)
    assert url in told
    assert str(cached_file(url)) in told
    assert "put it there, or give a file of your own: weights=FILE.safetensors" in told
    assert left(tmp_path) == []


def test_file_that_is_not_there_is_told(server):
    with pytest.raises(EnvironmentFault, match="404"):
        fetch(server.put(TENSORS).replace("net-", "other-"))


def test_address_without_a_hash_is_not_asked(server):
    with pytest.raises(EnvironmentFault, match="has no sha256 in its name"):
        fetch(f"http://127.0.0.1:{server.http.server_port}/net.pth")
    assert server.requests == []


def test_published_network_is_downloaded_once_checked_and_asked_offline_after(server, monkeypatch):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    url = server.put(theirs.state_dict(), name="resnet18")
    monkeypatch.setattr(pretrained, "address", lambda member: url if member.startswith("ResNet18_") else "")
    first = models.build("resnet18", weights="imagenet", num_classes=2)
    assert torch.equal(first.backbone.stem.conv.weight, theirs.conv1.weight)
    server.http.shutdown()
    server.http.server_close()
    image = torch.randint(0, 256, (3, 224, 256), dtype=torch.uint8)
    (answer,) = unpool.load("resnet18", weights="imagenet", device="cpu")(image)
    assert answer["class"] in pretrained.origin("resnet18", "imagenet").classes
    assert len(server.requests) == 1
