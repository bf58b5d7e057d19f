"""Who is let in, and what browsers are told: asked over the wire, as somebody hostile would."""

import pytest

from facerestore.errors import UsageError
from facerestore.serve.guard import Door
from facerestore.serve.server import address_of, listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST", "127.0.0.1:9"])
def test_this_machine_is_known_by_its_names(served, host):
    assert served.get("api/queue", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "192.168.1.2", ""],
)
def test_other_names_are_refused(served, host):
    answer = served.get("api/queue", host=host)
    assert answer.status in (400, 421)  # without any name HTTP itself refuses
    assert "films" not in answer.text


def test_only_who_knows_the_key_gets_anything(served):
    for base in ("/", "/wrong/", f"/{served.base.strip('/')[:-1]}/", "/%00/", "//"):
        for path in ("", "api/folder", "files/talk.mp4", "static/app.js"):
            answer = served.get(path, base=base)
            assert answer.status == 404
            assert "talk" not in answer.text
    assert "address that facerestore serve printed" in served.get("", base="/").text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Facerestore": None},
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "api/restore"), ("POST", "api/preview"), ("POST", "api/masks?film=talk.mp4"),
     ("PUT", "api/films?name=a.mp4"), ("DELETE", "api/queue/1")],
)  # fmt: skip
def test_changes_need_the_own_page(served, root, method, path, headers):
    before = sorted(root.iterdir())
    answer = served.ask(method, path, body=b'{"film": "talk.mp4"}', headers=headers)
    assert answer.status == 403
    assert "only taken from this server's own page" in answer.text
    assert sorted(root.iterdir()) == before
    assert served.json("api/queue") == []


def test_no_other_site_is_allowed_anything(served):
    origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        answer = served.ask(method, "api/folder", headers=origin)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert served.ask("OPTIONS", "api/restore", headers=origin).status == 403


def test_every_answer_limits_the_browser(served, root):
    (root / "talk.mp4.report.html").write_text("<script>1</script>")
    for path in ("", "static/app.js", "api/folder", "files/talk.mp4", "nothing", "files/../x"):
        headers = served.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    page = served.get("").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page
    assert "unsafe" not in page
    report = served.get("files/talk.mp4.report.html").headers["content-security-policy"]
    assert report.startswith("sandbox allow-scripts;")  # whoever wrote it: no origin, no requests
    assert "connect-src" not in report
    assert "allow-same-origin" not in report
    (root / "talk.mp4.report.html").unlink()


NAMES = [
    "../secret.mp4",
    "..%2fsecret.mp4",
    "%2e%2e/secret.mp4",
    "%2e%2e%2fsecret.mp4",
    "below/..%2f..%2fsecret.mp4",
    "..%5csecret.mp4",
    "%252e%252e%252fsecret.mp4",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "up/secret.mp4",
    "out.mp4",
    "sly.mp4",
    ".hidden.mp4",
    ".hidden/work.mp4",
    "talk.mp4%00",
    "talk.mp4%00.png",
    "notes.txt",
    "page.html",
    "below",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_path_leads_out(served, name):
    query = "film=" + name.lstrip("/") if "%2f" in name else "film=" + name
    for path in (f"files/{name}", f"files//{name}", f"api/facts?{query}", f"api/still?{query}",
                 f"api/clip?number=0&{query}", f"previews/1/{name}", f"static/{name}"):  # fmt: skip
        answer = served.get(path)
        assert answer.status in (404, 405, 422, 400), path
        assert answer.headers.get_content_type() == "application/json", path
        assert b"CLASSIFIED" not in answer.body
        assert b"root:" not in answer.body


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "up/secret.mp4", ".hidden.mp4"])
def test_no_wish_names_a_file_elsewhere(served, name):
    wishes = (
        {"film": name},
        {"film": "talk.mp4", "tasks": "inpaint", "mask": name},
        {"film": "talk.mp4", "tasks": "inpaint", "mask": "notes.txt"},
        {"film": "talk.mp4", "model": name},
    )
    for wish in wishes:
        assert served.post("api/restore", wish).status in (400, 404)
        assert served.post("api/preview", wish).status in (400, 404)
    assert served.json("api/queue") == []


def test_lists_of_other_files_are_no_films(served, root):
    """FFmpeg would open what they name, wherever it is."""
    (root / "list.mkv").write_text("ffconcat version 1.0\nfile talk.mp4\n")
    (root / "list.ts").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:3,\n../secret.mp4\n#EXT-X-ENDLIST\n"
    )
    for name in ("list.mkv", "list.ts"):
        answer = served.get(f"api/facts?film={name}")
        assert answer.status == 400
        assert name == "list.ts" or "is a list of other files" in answer.text
        assert served.post("api/restore", {"film": name}).status == 400
        (root / name).unlink()


def test_requests_are_not_too_large(served):
    sizes = ({"Content-Length": str(1 << 30)}, {"Content-Length": "-1"}, {"Content-Length": None})
    for headers, status in zip(sizes, (413, 400, 411), strict=True):
        assert served.ask("POST", "api/restore", headers=headers).status == status
    assert served.ask("PUT", "api/films?name=a.mp4").status == 411
    huge = served.ask("PUT", "api/films?name=a.mp4", headers={"Content-Length": str(1 << 60)})
    assert huge.status == 507
    assert "are free, at least" in huge.text


def test_it_listens_on_this_machine_only_unless_told():
    assert Door("k", "127.0.0.1").private
    assert Door("k", "localhost").private
    assert Door("k", "::1").private
    assert not Door("k", "0.0.0.0").private
    assert not Door("k", "192.168.1.2").private
    everywhere = Door("k", "0.0.0.0")
    assert everywhere.knows("192.168.1.2:8642")  # a number cannot be made to point elsewhere
    assert not everywhere.knows("evil.example")
    assert Door("k", "box.lan").knows("box.lan:80")
    assert Door("k", "::1").knows("[::1]:8642")


def test_a_port_that_is_taken_is_said():
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: cannot be had"):
            listening("127.0.0.1", port)
        assert address_of(Door("k", "0.0.0.0"), first) == f"http://127.0.0.1:{port}/k/"
    with pytest.raises(UsageError, match="is not known here"):
        listening("no.such.name.invalid", 0)
