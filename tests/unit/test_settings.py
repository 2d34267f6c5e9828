"""Settings from the environment: what cannot be used is told in a sentence that names the variable."""

from __future__ import annotations

import pytest

from streams.errors import SettingInvalid
from streams.settings import Settings

FAULTS = {
    ("PARTITIONS", "0"): "is not between 1 and 4096",
    ("PARTITIONS", "-1"): "is not between",
    ("PARTITIONS", "abc"): "is no whole number",
    ("PARTITIONS", "9" * 5_000): "is no",
    ("TICK_MS", "0"): "is not between 1 and",
    ("TICK_MS", "99999999999"): "is not between",
    ("IDLE_MS", "nan"): "is no whole number",
    ("COMMIT_MS", "1e3"): "is no whole number",
    ("METRICS_PORT", "65536"): "is not between 0 and 65535",
    ("CLOCK", "moon"): "is neither 'wall' nor 'event'",
    ("PREFIX", "a b"): "cannot begin the name of a topic",
    ("PREFIX", "x" * 201): "cannot begin the name of a topic",
    ("PREFIX", "a\udcff"): "is no text in UTF-8",  # a byte that is none, as Python reads it
    ("KAFKA", "\udcff:9092"): "is no text in UTF-8",
    ("KAFKA", ""): "is no host:port[,host:port]",
    ("KAFKA", "a:9092,"): "is no host:port[,host:port]",
    ("KAFKA", "a:65536"): "is no host:port[,host:port]",
    ("KAFKA", "http://a:9092"): "is no host:port[,host:port]",
    ("KAFKA_SECURITY_PROTOCOL", "ssl"): "is neither 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' nor",
    ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"): "needs FOREMESH_KAFKA_SASL_MECHANISM",
    ("KAFKA_SASL_MECHANISM", "GSSAPI"): "is neither '', 'PLAIN', 'SCRAM-SHA-256' nor",
    ("POSTGRES", "a\x00b"): "is no text in UTF-8",
}


@pytest.mark.parametrize(("name", "text"), FAULTS)
def test_what_cannot_be_used_is_named_with_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingInvalid) as found:
        Settings.from_env({f"FOREMESH_{name}": text})
    assert str(found.value).startswith(f"FOREMESH_{name}=")
    assert FAULTS[name, text] in str(found.value)
    assert len(str(found.value)) < 200


def test_a_setting_given_as_an_option_is_checked_as_well() -> None:
    with pytest.raises(SettingInvalid, match="FOREMESH_PREFIX='a b'"):
        Settings(prefix="a b")


@pytest.mark.parametrize("servers", ["a", "a.b:9092", "a:1, b:65535", "[::1]:9092", "10.0.0.1:9"])
def test_servers_have_a_port_or_the_usual_one(servers: str) -> None:
    assert Settings(kafka=servers).kafka == servers


def test_settings_as_variables_are_the_same_settings() -> None:
    settings = Settings(prefix="shop.", partitions=3, clock="event", metrics_port=9_090)
    assert Settings.from_env(settings.to_env()) == settings
