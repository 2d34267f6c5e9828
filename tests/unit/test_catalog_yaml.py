from __future__ import annotations

import io
import math
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streams.catalog.yaml_reader
from streams.catalog.inference import ADVICE, MAX_SERVICES, NEEDS, infer
from streams.catalog.yaml_reader import load, parse
from streams.catalog.yaml_writer import dump
from streams.errors import CatalogInvalid, LogUnreadable
from streams.records import Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.runtime.printable import printable

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200).filter(
    lambda name: name.strip() != ""
)
AMOUNTS = st.floats(0, 1e12) | st.integers(0, 10**9).map(float)
RESOURCES = st.builds(Resources, cpu=AMOUNTS, memory=AMOUNTS, bandwidth=AMOUNTS)


STEPS = "[[pricing, stock], payment]"  # an example in messages
LOGGED = st.lists(NAMES, max_size=2).map(tuple)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    constituents = {
        name: Constituent(
            service=name,
            needs=draw(RESOURCES),
            warm_up_ms=draw(st.integers(0, 10**9)),
            price=draw(AMOUNTS),
            concurrency=draw(st.integers(1, 100)),
            command=tuple(draw(st.lists(NAMES, max_size=3))),
            health="/" + draw(NAMES),
            warm_up=draw(st.just("") | NAMES.map(lambda name: "/" + name)),
            warm_up_body=draw(st.sampled_from(["", "{}", '{"text": "größe\\n: #"}'])),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    }
    base, *others = sorted(constituents)
    if draw(st.booleans()) and others:
        layered = {
            n: replace(constituents[n], base=draw(st.sampled_from(["", base]))) for n in others
        }
        constituents |= layered
    asked = sorted(constituents.keys() - Catalog(constituents).bases)
    step = st.lists(st.sampled_from(asked), min_size=1, max_size=3, unique=True)
    steps = st.lists(step.map(tuple), min_size=1, max_size=3).map(tuple)
    composites = {
        name: Composite(
            service=name, steps=draw(steps), logged=draw(LOGGED), idempotent=draw(st.booleans())
        )
        for name in draw(st.lists(NAMES, max_size=3, unique=True))
    }
    tiers = {
        name: Tier(
            tier=name,
            weight=draw(AMOUNTS),
            sla_ms=5,
            priority=draw(st.integers(-9, 9)),
            quota=draw(st.floats(0, 1)),
        )
        for name in draw(st.lists(NAMES, max_size=2, unique=True))
    }
    most = Resources(
        cpu=sum(c.needs.cpu for c in constituents.values()),
        memory=sum(c.needs.memory for c in constituents.values()),
        bandwidth=sum(c.needs.bandwidth for c in constituents.values()),
    )
    pools = {
        name: Pool(
            pool=name,
            capacity=most,
            budget=draw(AMOUNTS | st.just(math.inf)),
            trust_tier_header=draw(st.booleans()),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    }
    return Catalog(constituents, composites, tiers, pools)


def lines_of(text: str) -> list[tuple[int, str]]:
    with pytest.raises(CatalogInvalid) as raised:
        parse(textwrap.dedent(text))
    found = [line.split(": ", 1) for line in str(raised.value).splitlines()[1:]]
    return [(int(where.split()[-1]), what) for where, what in found]


@given(catalogs())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_dumped_is_parsed_as_it_was(catalog: Catalog) -> None:
    assert parse(dump(catalog, "any\ncomment")) == catalog


@given(catalogs())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_dumped_has_nothing_that_printing_would_change(catalog: Catalog) -> None:
    text = dump(catalog)
    assert printable(text) == text


@pytest.mark.parametrize("name", ["👩\u200d💻", "so\xadft", "pri\u202ecing", "\U000e0041"])
def test_a_name_with_what_is_not_seen_is_printed_so_that_it_can_be_loaded(name: str) -> None:
    tiers = {name: Tier(tier=name, weight=1, sla_ms=5)}
    assert parse(printable(dump(Catalog({}, {}, tiers, {})))).tiers == tiers


def test_the_example_in_the_documentation_is_a_catalogue() -> None:
    text = (streams.catalog.yaml_reader.__doc__ or "").split("::\n")[1]
    catalog = parse(textwrap.dedent(text))
    assert catalog.composites["checkout"].steps == (("pricing", "stock"), ("payment",))
    assert catalog.constituents["stock"].concurrency == 8
    assert catalog.pools["default"].budget == 1.5


def test_every_error_is_reported_at_once_with_its_line() -> None:
    found = lines_of("""\
        constituents:
          pricing: {cpu: 250, memory: -128, warm_up_ms: 900, price: 0.02}
          stock: {cpu: 250, memory: 128Mi, warm_up_ms: 1.5, price: .nan, concurrency: 0}
          payment: {cpu: 500, memroy: 512, warm_up_ms: 2500, price: 0.05}
          pricing: {}
          basket: {cpu: 5, memory: 5, warm_up_ms: 5, price: 1, command: python x, health: x,
                   warm_up_body: nope}
          mail:
        composite: {}
        composites:
          buy: [[pricng, stock], payment]
          nothing: []
          wrong: {pricing: 1}
          twice: [[stock, stock]]
          again: {steps: [stock], idempotent: perhaps}
          "": [stock]
          [a, b]: [stock]
        tiers:
          gold: {weight: 0.02, sla_ms: 200, priority: high}
          tin: {weight: 0.02, sla_ms: 200, quota: 30}
        pools:
          default: {cpu: 8000, memory: 16384, bandwidth: .inf}
        """)
    assert found == [
        (2, "constituent 'pricing': memory must not be negative, it is -128"),
        (3, "constituent 'stock': concurrency must be between 1 and 1000000000, it is 0"),
        (3, "constituent 'stock': memory must be a number, it is '128Mi'"),
        (3, "constituent 'stock': price must be a number, it is '.nan'"),
        (3, "constituent 'stock': warm_up_ms must be a whole number, it is '1.5'"),
        (4, "constituent 'payment' has an unknown field 'memroy'; did you mean 'memory'?"),
        (4, "constituent 'payment' has no memory (MiB), as memory: 2048"),
        (5, "'pricing' is twice in constituents, first on line 2"),
        (6, "constituent 'basket': command must be a list of texts, as [one, another]"),
        (6, "constituent 'basket': health must begin with /, it is 'x'"),
        (7, "constituent 'basket': warm_up_body must be JSON, it is 'nope'"),
        (8, "constituent 'mail' must be a mapping of names"),
        (9, "'composite' is no section of a catalogue; did you mean 'composites'?"),
        (11, "composite 'buy' names 'pricng', which is no constituent; did you mean 'pricing'?"),
        (12, "composite 'nothing' must have 1 to 64 steps, it has 0"),
        (
            13,
            "composite 'wrong' has an unknown field 'pricing'; there are steps, logged, idempotent",
        ),
        (13, f"composite 'wrong' has no steps (what is called after what), as steps: {STEPS}"),
        (14, "composite 'twice' names 'stock' twice in one step"),
        (15, "composite 'again': idempotent must be true or false, it is 'perhaps'"),
        (16, "a name in composites must not be empty"),
        (17, "a name in composites must be one value, not a list or a mapping"),
        (19, "tier 'gold': priority must be a whole number, it is 'high'"),
        (20, "tier 'tin': quota must be a share from 0 to 1, it is 30"),
        (22, "pool 'default': bandwidth must be a number, it is '.inf'"),
    ]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[a, [b, [c]]]", "step 2 has a list within its list: what runs in parallel is one list"),
        (
            "[{parallel: [a, b]}]",
            "step 1 has a mapping: a step is a name, or a list of names that run in parallel",
        ),
        ("[a, ~]", "step 2 has a name that must not be null, it is '~': quote what is a name"),
        ("[a, '']", "step 2 has a name that must not be empty"),
    ],
)
def test_of_a_step_that_is_none_is_said_which_it_is_and_what_it_may_be(
    steps: str, said: str
) -> None:
    ((line, sentence),) = lines_of(f"composites:\n  x: {steps}\n")
    assert (line, sentence) == (2, f"composite 'x' must be as {STEPS}, but {said}")


def test_the_line_of_a_value_that_is_left_out_is_that_of_its_name() -> None:
    found = lines_of("composites:\n  x:\n\n  # a comment\n  y:\ntiers: {}\n")
    assert found == [
        (line, f"composite {name!r} must be a list of steps, as {STEPS}")
        for line, name in ((2, "x"), (5, "y"))
    ]


def test_a_step_that_is_no_constituent_and_like_none_is_to_be_added() -> None:
    found = lines_of("composites: {x: [7]}\n")
    assert found == [
        (1, "composite 'x' names '7', which is no constituent; add it to constituents")
    ]


def test_a_constituent_that_fits_in_no_pool_is_an_error() -> None:
    found = lines_of("""\
        constituents:
          big: {cpu: 9000, memory: 5, warm_up_ms: 1, price: 1}
        pools:
          default: {cpu: 8000, memory: 1024, bandwidth: 0}
        """)
    assert found == [
        (
            2,
            "constituent 'big' fits in no pool: one instance takes 9000 millicores, 5 MiB and 0 Mbit/s",
        )
    ]


def test_a_catalogue_without_pools_is_an_error() -> None:
    found = lines_of("constituents:\n  a: {cpu: 1, memory: 1, warm_up_ms: 1, price: 1}\n")
    assert found == [(1, "the catalogue has no pools: instances have nowhere to run")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty: it needs constituents, composites, tiers, pools"),
        ("# only a comment", "is empty"),
        ("just text", "line 1: the catalogue must be a mapping of names"),
        ("- a\n- b", "line 1: the catalogue must be a mapping of names"),
        ("pools:\n  a: b: c", "line 2: not YAML: mapping values are not allowed here"),
        ("pools: [\n", "line 2: not YAML"),
        ("pools: {}\n---\npools: {}", "line 2: not YAML: expected a single document"),
        ("\npools: \x07", "line 2: not YAML: unacceptable character"),
        ("[" * 100_000, "not YAML: nested too deep"),
        ("".join(f"\n{' ' * depth}a:" for depth in range(500)), "not YAML: nested too deep"),
        ("pools: &a\n  x: *a", "pool 'x' has an unknown field 'x'"),
        ("pools: *nowhere", "line 1: not YAML: found undefined alias"),
        ("%YAML 9.9\n---\na: 1", "line 1: not YAML"),
    ],
)
def test_what_is_no_catalogue_at_all_says_so(text: str, sentence: str) -> None:
    with pytest.raises(CatalogInvalid) as raised:
        parse(text)
    assert sentence in str(raised.value)


@given(st.text() | st.text("abc:-[]{}&*!|>'\"%#?, \n\t~<012.", max_size=80))
@settings(deadline=None)
def test_any_text_is_a_catalogue_or_an_error_for_people(text: str) -> None:
    try:
        parse(text)
    except CatalogInvalid as error:
        assert str(error).startswith("catalogue")  # noqa: PT017 - either outcome is right


def test_a_base_is_a_constituent_of_one_layer_that_nobody_asks_for() -> None:
    found = lines_of("""\
        constituents:
          model: {cpu: 6, memory: 1, warm_up_ms: 900, price: 1}
          sketch: {cpu: 5, memory: 1, warm_up_ms: 90, price: 1, base: model}
          photo: {cpu: 5, memory: 1, warm_up_ms: 90, price: 1, base: modell}
          poster: {cpu: 1, memory: 1, warm_up_ms: 90, price: 1, base: sketch}
        composites:
          draw: [sketch, model]
        pools:
          default: {cpu: 10, memory: 9, bandwidth: 1}
        """)
    assert found == [
        (3, ("constituent 'sketch' fits in no pool: one instance takes 11 millicores, 2 MiB and"
             " 0 Mbit/s with its base")),
        (3, "constituent 'sketch': base 'model' cannot be: others start from this one"),
        (4, "constituent 'photo': base 'modell' is no constituent; did you mean 'model'?"),
        (7, "composite 'draw' names 'model', which others start from: it serves no requests itself"),
        (7, "composite 'draw' names 'sketch', which others start from: it serves no requests itself"),
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    with pytest.raises(CatalogInvalid, match="cannot be read: No such file"):
        load(path)
    path.write_bytes(b"pools:\n  \xff: {}\n")
    with pytest.raises(CatalogInvalid, match="line 2: not valid UTF-8"):
        load(path)
    path.write_bytes(b"#" * (5 * 1024 * 1024))
    with pytest.raises(CatalogInvalid, match="is larger than 4194304 bytes"):
        load(path)


def request(service: str, tier: str = "standard", pool: str = "default") -> Request:
    return Request(request_id="r", user="u", service=service, at_ms=1, tier=tier, pool=pool)


def test_a_first_catalogue_names_what_the_log_names(tmp_path: Path) -> None:
    log = [request("a"), request("b"), request("b", tier="gold"), request(""), request("c" * 999)]
    catalog = infer(log)
    assert list(catalog.composites) == ["b", "a"]
    assert catalog.composites["a"].steps == (("a",),)
    assert list(catalog.tiers) == ["standard", "gold"]
    assert list(catalog.pools) == ["default"]
    path = tmp_path / "catalog.yaml"
    path.write_text(dump(catalog, ADVICE))
    assert load(path) == catalog
    assert path.read_text().startswith("# Edit the numbers")


def test_a_first_pool_holds_a_tenth_of_the_services() -> None:
    catalog = infer(request(f"s{i}") for i in range(95))
    capacity = catalog.pools["default"].capacity
    needs = catalog.constituents["s0"].needs
    assert needs.times(10).fits(capacity)
    assert not needs.times(11).fits(capacity)


def test_a_guessed_pool_has_room_for_as_many_as_a_log_has_at_once() -> None:
    spans = [(0, 100), (10, 200), (50, 10), (60, 300), (100, 5)]  # 60 is when the third ends
    found = infer(
        replace(request("draw"), at_ms=at_ms, serve_ms=serve_ms) for at_ms, serve_ms in spans
    )
    assert found.pools["default"].capacity == NEEDS.times(3)


def test_a_log_with_too_many_services_or_none_is_the_wrong_column() -> None:
    with pytest.raises(LogUnreadable, match="name the right column, see --item"):
        infer(request(f"s{i}") for i in range(MAX_SERVICES + 1))
    with pytest.raises(LogUnreadable, match="names no service"):
        infer([request("")])


def test_what_is_no_name_of_a_catalogue_is_not_inferred() -> None:
    catalog = infer(request(service) for service in ("draw", "dr\0w", "draw\n", " ", "x" * 257))
    assert set(catalog.composites) == {"draw"}
    assert parse(dump(catalog)) == catalog


def with_merges(constituents: str) -> str:
    return f"constituents:\n{constituents}pools: {{default: {{cpu: 900, memory: 900, bandwidth: 9}}}}\n"


def test_merge_keys_take_over_what_is_not_given() -> None:
    catalog = parse(
        with_merges(
            "  a: &a {cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n"
            "  b: &b {<<: *a, cpu: 5}\n"
            "  c: {<<: [*b, *a], memory: 6}\n"
        )
    )
    needs = {name: (c.needs.cpu, c.needs.memory) for name, c in catalog.constituents.items()}
    assert needs == {"a": (1, 2), "b": (5, 2), "c": (5, 6)}


def test_a_merge_key_of_no_mapping_is_an_error_with_its_line() -> None:
    with pytest.raises(CatalogInvalid, match="line 2: << in constituent 'a'"):
        parse(with_merges("  a: {<<: [1], cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n"))


def test_a_mapping_that_merges_itself_is_read_once() -> None:
    catalog = parse(with_merges("  a: &a {<<: *a, cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n"))
    assert catalog.constituents["a"].price == 4


def test_a_long_chain_of_merges_is_an_error_and_not_a_wait() -> None:
    links = "".join(f"  s{n}: &s{n} {{<<: *s{n - 1}}}\n" for n in range(1, 2_000))
    with pytest.raises(
        CatalogInvalid, match=r"line 3: << in constituent 's101' .* 100 at most"
    ) as raised:
        parse(with_merges("  s0: &s0 {cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n" + links))
    assert len(str(raised.value)) < 20_000


def test_sections_of_shared_defaults_are_for_the_others() -> None:
    shared = "x-small: &small {cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n"
    catalog = parse(shared + with_merges("  a: *small\n"))
    assert catalog.constituents["a"].warm_up_ms == 3


def test_of_an_anchor_that_is_there_twice_the_later_one_counts() -> None:
    catalog = parse(
        with_merges(
            "  a: &a {cpu: 1, memory: 2, warm_up_ms: 3, price: 4}\n"
            "  b: &a {cpu: 5, memory: 2, warm_up_ms: 3, price: 4}\n"
            "  c: *a\n"
        )
    )
    assert catalog.constituents["c"].needs.cpu == 5


def one_constituent(**values: str) -> str:
    given = {"cpu": "1", "memory": "1", "warm_up_ms": "1", "price": "1"} | values
    return with_merges(f"  a: {{{', '.join(f'{k}: {v}' for k, v in given.items())}}}\n")


@pytest.mark.parametrize(
    "text",
    [
        "1_000",
        "\u0662\u0665",
        "'250'",
        '"250"',
        "0x10",
        "0o17",
        "1:30",
        "inf",
        "250\u00a0",
        "!x 250",
    ],
)
@pytest.mark.parametrize("field", ["cpu", "warm_up_ms", "price"])
def test_what_is_no_decimal_number_in_yaml_is_none_here(field: str, text: str) -> None:
    with pytest.raises(CatalogInvalid, match=f"line 2: constituent 'a': {field} must"):
        parse(one_constituent(**{field: text}))


@pytest.mark.parametrize(("text", "value"), [("010", 10), ("-0.0", 0), (".5e1", 5), ("+1.", 1)])
def test_numbers_are_read_as_yaml_has_them(text: str, value: float) -> None:
    needs = parse(one_constituent(cpu=text)).constituents["a"].needs
    assert str(needs.cpu) == str(float(value))


@pytest.mark.parametrize("name", ["null", "~", '"\\ud800"', "!x b"])
def test_what_is_no_text_names_nothing(name: str) -> None:
    with pytest.raises(CatalogInvalid, match="line 2: constituent 'a': base must"):
        parse(one_constituent(base=name))
    with pytest.raises(CatalogInvalid, match="line 2: a name in constituents must"):
        parse(with_merges(f"  {name}: {{cpu: 1, memory: 1, warm_up_ms: 1, price: 1}}\n"))


@pytest.mark.parametrize("name", ["'null'", "1.0", "on", "no"])
def test_names_that_look_like_values_are_names(name: str) -> None:
    text = with_merges(f"  {name}: {{cpu: 1, memory: 1, warm_up_ms: 1, price: 1}}\n")
    assert list(parse(text).constituents) == [name.strip("'")]


def test_a_catalogue_is_read_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"pools: {default: {cpu: 1, memory: 1, bandwidth: 1}}"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert list(load("-").pools) == ["default"]

    with pytest.raises(CatalogInvalid, match="standard input is empty"):
        load("-")
