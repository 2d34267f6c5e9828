from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from confluent_kafka import Producer
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from receiver import TLS

from streams.adapters.kafka.clients import (
    client_config,
    consumer_config,
    faust_broker_options,
    producer_config,
)
from streams.adapters.kafka.topics import declared
from streams.errors import SettingInvalid
from streams.flow.topology import STAGES, TOPICS
from streams.settings import Settings

SASL = Settings(
    kafka="broker:9092",
    kafka_security_protocol="SASL_SSL",
    kafka_sasl_mechanism="SCRAM-SHA-512",
    kafka_username="flow",
    kafka_password="secret",
)


def test_without_security_only_servers_and_what_to_log_are_given() -> None:
    settings = Settings(kafka="broker:9092")

    assert client_config(settings) == {
        "bootstrap.servers": "broker:9092",
        "log_level": 2,
        "security.protocol": "PLAINTEXT",
    }
    assert faust_broker_options(settings) == {}


def test_sasl_over_tls_reaches_librdkafka() -> None:
    config = client_config(SASL)

    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (config["sasl.username"], config["sasl.password"]) == ("flow", "secret")


def test_sasl_over_tls_reaches_aiokafka_through_faust() -> None:
    credentials = faust_broker_options(SASL)["broker_credentials"]

    auth = credentials_to_aiokafka_auth(credentials)
    assert isinstance(credentials, SASLCredentials)
    assert auth["security_protocol"] == "SASL_SSL"
    assert auth["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (auth["sasl_plain_username"], auth["sasl_plain_password"]) == ("flow", "secret")
    assert isinstance(auth["ssl_context"], ssl.SSLContext)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_mechanism_is_known_to_both_clients(mechanism: str) -> None:
    settings = Settings(
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism=mechanism,
        kafka_username="flow",
        kafka_password="secret",
    )

    Producer(client_config(settings) | {"log_level": 0})
    auth = credentials_to_aiokafka_auth(faust_broker_options(settings)["broker_credentials"])
    assert auth["sasl_mechanism"] == mechanism
    assert auth["ssl_context"] is None


def test_tls_alone_verifies_the_broker_for_both_clients() -> None:
    settings = Settings(kafka_security_protocol="SSL")

    credentials = faust_broker_options(settings)["broker_credentials"]
    auth = credentials_to_aiokafka_auth(credentials)
    assert isinstance(credentials, SSLCredentials)
    assert auth["security_protocol"] == "SSL"
    assert auth["ssl_context"].verify_mode == ssl.CERT_REQUIRED
    assert client_config(settings)["security.protocol"] == "SSL"


def test_certificates_are_named_to_librdkafka() -> None:
    settings = Settings(
        kafka_security_protocol="SSL",
        kafka_ssl_ca=str(TLS / "localhost.pem"),
        kafka_ssl_certificate=str(TLS / "localhost.pem"),
        kafka_ssl_key=str(TLS / "localhost.key"),
    )

    config = client_config(settings)
    assert config["ssl.ca.location"] == settings.kafka_ssl_ca
    assert config["ssl.certificate.location"] == settings.kafka_ssl_certificate
    assert config["ssl.key.location"] == settings.kafka_ssl_key
    Producer(config | {"log_level": 0})


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    settings = Settings(kafka_security_protocol="SSL", kafka_ssl_ca=str(missing))

    for configure in (faust_broker_options, client_config):
        with pytest.raises(SettingInvalid, match="FOREMESH_KAFKA_SSL_CA"):
            configure(settings)


def test_producers_lose_nothing_and_partition_as_aiokafka_does() -> None:
    config = producer_config(Settings())

    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
    assert config["partitioner"] == "murmur2_random"
    Producer(config | {"log_level": 0})


def test_consumers_commit_only_when_told_to() -> None:
    config = consumer_config(Settings(), "a-group")

    assert config["group.id"] == "a-group"
    assert config["enable.auto.commit"] is False
    assert config["auto.offset.reset"] == "earliest"
    assert config["heartbeat.interval.ms"] < config["session.timeout.ms"]


def test_every_topic_and_every_changelog_is_declared_with_the_prefix() -> None:
    names = set(declared(Settings(prefix="eu-")))

    assert {f"eu-{topic}" for topic in TOPICS} <= names
    assert {f"eu-{stage}-state" for stage in STAGES} <= names
    assert len(names) == len(TOPICS) + len(STAGES)


def test_changelogs_and_compacted_topics_never_expire() -> None:
    topics = declared(Settings())

    compacted = {name for name, config in topics.items() if config["cleanup.policy"] == "compact"}
    changelogs = {f"{stage}-state" for stage in STAGES}
    assert compacted == {"predictions", "catalog", "control", "trials", "instances"} | changelogs


def test_writes_wait_for_a_second_replica_where_there_are_three() -> None:
    assert declared(Settings(replication=3))["requests"]["min.insync.replicas"] == "2"
    assert declared(Settings())["requests"]["min.insync.replicas"] == "1"
