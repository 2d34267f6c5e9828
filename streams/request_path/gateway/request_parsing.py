"""From an HTTP request to a `Request`: its user, tier and parameters; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Raw, json

from streams.records import Request, Source
from streams.records.catalog import Tier
from streams.request_path.core.headers import TIER_HEADER, USER_HEADER, default_tier, is_text
from streams.runtime.json_body import decoded
from streams.stages.base import MAX_NAME, MAX_PARAMETER_LENGTH, MAX_PARAMETERS

__all__ = ["parse_body", "parse_parameters", "parse_request", "single_headers"]

_ID_HEADER = "x-request-id"
_ONCE = frozenset({USER_HEADER, TIER_HEADER, _ID_HEADER})
_OBJECT = json.Decoder(dict[str, Raw])
_TEXT = json.Decoder(str)


def single_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of a request by their names in lower case.

    Raises
    ------
    ValueError
        One that says who asks for what is there twice: servers differ in which they believe.
    """
    found: dict[str, str] = {}
    for name, value in ((name.lower(), value) for name, value in pairs):
        if name in found and name in _ONCE:
            raise ValueError(f"header {name} is there more than once")
        found[name] = value
    return found


def parse_request(
    headers: Mapping[str, str],
    parameters: Mapping[str, str],
    tiers: Mapping[str, Tier],
    *,
    composite: str,
    pool: str,
    at_ms: int,
    request_id: str,
    tier_header: bool,
) -> Request:
    """The request as a record.

    Parameters
    ----------
    headers, parameters
        Of the HTTP request; see `single_headers` and `parse_parameters`.
    tiers
        Those of the catalogue.
    composite, pool, at_ms
        What is asked for, in which pool, and when.
    request_id
        Its id if the header `x-request-id` is missing.
    tier_header
        Whether the header `x-foremesh-tier` is believed; else the tier is the default.

    Raises
    ------
    ValueError
        The user is missing, the tier that it may name is unknown, or a name is too long or no text.
    """
    user = _header(headers, USER_HEADER, "")
    if not user:
        raise ValueError(f"header {USER_HEADER} is missing: it names the user of the request")
    usual = default_tier(tiers)
    tier = _header(headers, TIER_HEADER, usual) if tier_header else usual
    if tiers and tier not in tiers:
        raise ValueError(f"there is no tier {tier!r}: the catalogue has {', '.join(tiers)}")
    return Request(
        request_id=_header(headers, _ID_HEADER, request_id),
        user=user,
        service=composite,
        at_ms=at_ms,
        parameters=parameters,
        tier=tier,
        pool=pool,
        source=Source.GATEWAY,
    )


def parse_body(body: bytes | None) -> dict[str, Raw]:
    """The values of a JSON object by name, each as it is written; none without a body.

    Raises
    ------
    BodyRefused
        The body is not a JSON object.
    """
    return {} if body is None else decoded(body, _OBJECT)


def parse_parameters(query: Mapping[str, str], values: Mapping[str, Raw]) -> dict[str, str]:
    """The query's parameters and the scalars of a body.

    Numbers, true and false are taken as they are written: none is rounded or becomes infinite.

    Raises
    ------
    ValueError
        The parameters are no text, too many or too long.
    """
    scalars = {name: _as_written(value) for name, value in values.items()}
    parameters = {**query, **{k: text for k, text in scalars.items() if text is not None}}
    if not is_text("".join((*parameters, *parameters.values()))):
        raise ValueError("the parameters are not UTF-8")
    size = sum(len(key) + len(value) for key, value in parameters.items())
    if len(parameters) > MAX_PARAMETERS or size > MAX_PARAMETER_LENGTH:
        raise ValueError(
            f"{len(parameters)} parameters of {size} characters exceed the limit of"
            f" {MAX_PARAMETERS} parameters of {MAX_PARAMETER_LENGTH} characters"
        )
    return parameters


def _header(headers: Mapping[str, str], name: str, default: str) -> str:
    value = headers.get(name) or default
    if len(value) > MAX_NAME:
        raise ValueError(f"header {name} has more than {MAX_NAME} characters")
    if not is_text(value):
        raise ValueError(f"header {name} is not UTF-8")
    return value


def _as_written(value: Raw) -> str | None:
    """The text of a scalar; None of anything else."""
    text = bytes(value)
    if text.startswith(b'"'):
        return _TEXT.decode(text)
    return None if text.startswith((b"{", b"[", b"n")) else text.decode()
