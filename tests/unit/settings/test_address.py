"""Listening addresses, and OLLAMA_HOST in every form that Ollama's envconfig.Host takes."""

import pytest

from proxy.settings.address import Address, upstream_url


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:11435", "127.0.0.1", 11435),
        (":11435", "", 11435),
        ("localhost:0", "localhost", 0),
        ("[::1]:80", "::1", 80),
        ("gpu-box.lan:65535", "gpu-box.lan", 65535),
    ],
)
def test_a_listening_address_is_a_host_and_a_port(text, host, port):
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "11435", "localhost", "localhost:", "h:65536", "h:-1", "::1:80", "a b:1", "h:1x", "/s:1"]
)
def test_what_is_no_host_and_port_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        (":1", "127.0.0.1:1", True),
        ("10.0.0.1:1", "0.0.0.0:1", True),
        ("10.0.0.1:1", "10.0.0.2:1", False),
        ("localhost:1", "127.0.0.1:1", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_two_addresses_overlap_if_both_cannot_be_listened_on(one, other, overlap):
    assert Address.parse(one).overlaps(Address.parse(other)) is overlap


@pytest.mark.parametrize(
    ("listen", "url", "ours"),
    [
        ("127.0.0.1:11435", "http://localhost:11435", True),
        (":11435", "http://127.0.0.1:11435", True),
        ("10.0.0.5:11435", "http://10.0.0.5:11435", True),
        (":11434", "http://gpu-box:11434", False),
        ("127.0.0.1:11435", "http://127.0.0.1:11434", False),
        ("127.0.0.1:0", "http://127.0.0.1:11434", False),
    ],
)
def test_an_upstream_that_is_keepwarm_itself_is_recognised(listen, url, ours):
    assert Address.parse(listen).receives(url) is ours


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("gpu-box:", "http://gpu-box:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[2001:db8::1]", "http://[2001:db8::1]:11434"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434"),
        ("ollama.com", "https://ollama.com:443"),
    ],
)
def test_every_form_that_ollama_takes_becomes_a_url_to_connect_to(text, url):
    assert upstream_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["ftp://x", "://x", "gpu box", "h:99999", "h:port", "http://u:p@h", "h?x=1", "h/a?x", "[::1", "[host]:1", "h:1:2"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        upstream_url(text)
