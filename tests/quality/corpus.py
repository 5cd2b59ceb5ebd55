# ruff: noqa: E501
"""Records at the edges of JSON, of UTF-8 and of every type, and random mixtures of them."""

import json
import random
from datetime import UTC, datetime

ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
DEEP = 99

NUMBERS = [
    "0", "-0", "5", "-5", "5.0", "5e0", "1e3", "1E+3", "1e-3", "0.1", "-0.0", "1.239", "12.50", "0.10", "1.5000", "-1.5", "-1.6",
    "99.9", "100000", "1234.567", "12345.678", "999", "999.001", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "9007199254740993", "1e308", "1e309", "-1e309", "1e400", "1e-400", "9" * 400, "9" * 38, "9" * 39,
    "1." + "0" * 37, "1." + "0" * 38, "0." + "0" * 37 + "1", "0." + "0" * 38 + "1", "123.4500000000000000000000000000000000000000",
    "9" * 1000, "9" * 1001, "-" + "9" * 1000, "-" + "9" * 1001, "1." + "0" * 999, "1." + "0" * 1000, "1e" + "0" * 999, "1e" + "0" * 1000,
    "1e+" + "0" * 999, "1e+" + "0" * 1000, "1e-" + "0" * 999, "1.5e-" + "0" * 998, "0.1000000000000000055511151231257827021181583404541015625",
]  # fmt: skip
NOT_NUMBERS = [
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1.e5",
    "1e",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "1_000",
    "tru",
    "nul",
    "True",
]
STRINGS = [
    "", "a", "b", "AB", "AB-1", "AB-1234", "AB\n", "ab", "5", "-5", "05", "5.0", "true", "false", "null", "NaN", "Infinity", '"Infinity"', "1e5",
    "12.5", "12.50", "12.5001", "1234567.1", "0.1", "[", "[1]", "{", '{"a":1}', "{}", "x y", "é", "日本語", "😀", "😀😀😀😀", "😀" * 8, "😀" * 9,
    "e\u0301", "a\u0000b", "\u0085", "\u2028", "a\nb", '"', "\\", "\\u", "\\ud83d", "\\\\ud83d", "\t", "\x7f", "\ufeff", "\uffff", "10-20", ":5", " 5", ",",
    "1" * 38, "1" * 39, "x" * 4096, "x" * 4097, "-0", "0", "0.0", "٣",
]  # fmt: skip
INSTANTS = [
    "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.1+05:30", "2025-12-31T24:00:00Z", "2026-01-01T00:00:60Z",
    "2026-02-30T00:00:00Z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00z",
    "2026-01-01t00:00:00Z", "2026-01-01T00:00Z", "2026-01-01", "20260101T000000Z", "2026-01-01T00:00:00+0000", "2026-01-01T00:00:00+00",
    "2026-01-01T00:00:00+18:00", "2026-01-01T00:00:00+18:01", "2026-01-01T00:00:00-18:00", "2026-01-01T00:00:00+19:00", "2026-01-01T00:00:00-00:00",
    "2026-01-01T01:00:00Z", "2026-01-01T01:00:00.000001Z", "2026-01-01T01:00:00.0000009Z", "2026-01-01T06:30:00+05:30", "2026-01-01T06:30:01+05:30",
    "9998-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0002-01-01T00:00:00+18:00", "1582-10-10T00:00:00Z",
    "1969-12-31T23:59:59.999999Z", "+2026-01-01T00:00:00Z", "12026-01-01T00:00:00Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00Z ", " 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00 UTC",
    "2026-01-01T00:00:00[UTC]", "2026-01-01T00:00:00Europe/Paris", "２０２６-01-01T00:00:00Z", "2026-01-01T00:30+01:00",
    "2026-01-01T00:30:00.25+0130", "2026-01-01T00:30-03", "2026-01-01T00:30:00+18", "2026-01-01T00:30+1800", "2026-01-01T00:30:00+1801", "2026-01-01T00:30.5Z",
    "2026-02-30T00:00Z", "2026-01-01T24:00Z", "2026-01-01T00Z", "2026-01-01T00:30:00+1", "2026-01-01T00:30:00+01:0", "now", "epoch", "1767225600", "2026-13-01T00:00:00Z",
]  # fmt: skip
OTHERS = [
    "true", "false", "null", "[]", "[1, 2]", '["a"]', "{}", '{"a": 1}', '{"p": 1}', '{"p": "x", "q": "good"}', '{"p":1,"p":"x"}', '{"p":"x","p":1}',
    '{"k": "v", "e": ""}', '{"k": null}', '{"k": 1}', '{"k": "1"}', '{"k": true}', '{"k": "true"}', '{"k": {"x": 1}}', '{"k": ["x"]}', '{"k":"a","k":"b"}',
    '{"k":1,"k":"b"}', '{"k":"b","k":1}', '{"k":"a","k":null}', '{"p":1.5,"q":"abcd"}', '{"p":1,"q":5}', '{"p":1,"d":1.25,"t":"x"}',
    '{"p":1,"d":1.2,"t":"2026-01-01T00:00:00+01:00"}', '{"p":1,"d":"1.20"}', '{"p":101}', '{"p":1e999}', '{"p":null}', '{"p":2,"gone":"g"}', '{"k":{"a":1,"a":2}}',
]  # fmt: skip
ESCAPED = [
    r'"\u0041B"', r'"\ud83d\ude00"', r'"\ud83d"', r'"\ude00"', r'"\ude00\ud83d"', r'"\\ud83d"', r'"\\\ud83d"', r'"\uD83D\uDE00\uD83D"', r'"\x"', r'"\u12"',
    r'"\u00e9"', '"\\u00İİ"', '"\\\\u00İ"', r'"\/"', r'"\b\f\n\r\t"', '"a\tb"', '"a\x00b"', r'"\'"', r'"\u0000"', '"unclosed',
]  # fmt: skip
FIELDS = (
    "id",
    "at",
    "n",
    "x",
    "price",
    "old",
    "st",
    "flag",
    "code",
    "any",
    "kind",
    "level",
    "secret",
    "when",
    "tags",
    "version",
    "other",
    "N",
    "ID",
)
VALUES = [
    *NUMBERS,
    *NOT_NUMBERS,
    *map(json.dumps, STRINGS),
    *(json.dumps(s, ensure_ascii=False) for s in STRINGS),
    *map(json.dumps, INSTANTS),
    *OTHERS,
    *ESCAPED,
]
WHOLE_2 = {
    "id": '"e1"', "at": '"2026-01-01T00:00:00Z"', "n": "1", "x": "1.5", "flag": "true", "code": '"DE"', "any": '"x"', "kind": '"a"', "level": "1",
    "price": "12.345", "secret": '"who"', "when": '"2026-01-01T00:00:00.5+01:00"', "tags": '{"k": "v"}', "st": '{"p": 1.5, "q": "ab", "d": 1.5}', "version": "2",
}  # fmt: skip
WHOLE_1 = {
    "id": '"e1"',
    "at": '"2026-01-01T00:00:00Z"',
    "n": "1",
    "x": "7",
    "price": "1.25",
    "old": '"a"',
    "st": '{"p": 1, "gone": "g"}',
    "version": "1",
}


def record(fields: dict[str, str], colon: str = ": ", comma: str = ", ") -> str:
    """The text of an object from the texts of its values."""
    return "{" + comma.join(f'"{name}"{colon}{text}' for name, text in fields.items()) + "}"


def texts() -> list[str]:
    """Handmade records about the text as a whole."""
    good = record(WHOLE_2)
    inner = good[1:-1]
    nested = ['{"other":' + "[" * d + "]" * d + f",{inner}}}" for d in (DEEP, DEEP + 1, 500, 20_000)]
    strings_of_brackets = f'{{"other": "{"[" * 300}", {inner}}}'
    keys = [
        f'{{"{k * n}": 1, {inner}}}'
        for k, n in (("k", 50_000), ("k", 50_001), ("é", 50_001), ("😀", 25_000), ("😀", 25_001))
    ]
    keys += [f'{{"{chr(92)}u0041{"k" * 49_999}": 1, {inner}}}', f'{{"{chr(92)}u0041{"k" * 50_000}": 1, {inner}}}']
    around = [
        good + tail
        for tail in (
            " ",
            "\n",
            "\r\n",
            "\t",
            " x",
            ",",
            "}",
            good,
            " " + good,
            "," + good,
            "],[",
            "]",
            '],"x":[{}',
            ',"q":5',
            "\x0c",
            "\u00a0",
            "\x00",
            "//c",
            ',{"~":true}',
            "null",
        )
    ]
    around += [
        head + good
        for head in (" ", "\n\t\r", "\ufeff", "\x0b", "x", "[", "[]", ",", "\u2003", "/**/", "null,", good + "\n")
    ]
    whole = [
        "",
        " ",
        "\n",
        "null",
        "true",
        "5",
        '"x"',
        '"{}"',
        "[]",
        "[{}]",
        f"[{good}]",
        "{}",
        "{} {}",
        "{",
        "}",
        "{{}}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{'id':'x'}",
        "{id:1}",
        '{"":1}',
        "NaN",
        "-",
        '"',
        "\\",
        "{,}",
        '{"a":1 "b":2}',
        '{"a":1,,"b":2}',
        "]",
        "],[",
        "[[",
        "{}]",
        "[{},{}]",
    ]
    return [
        good,
        record(WHOLE_2, ":", ","),
        record(WHOLE_1),
        record(WHOLE_2, " :\n", "\t,\r"),
        *nested,
        strings_of_brackets,
        *keys,
        *around,
        *whole,
    ]


def single_faults() -> list[str]:
    """Every field with every value; each field left out; each repeated."""
    found = [
        record({**whole, name: value}, ":", ",") for whole in (WHOLE_1, WHOLE_2) for name in FIELDS for value in VALUES
    ]
    found += [record({k: v for k, v in whole.items() if k != name}) for whole in (WHOLE_1, WHOLE_2) for name in whole]
    for whole in (WHOLE_1, WHOLE_2):
        for name in whole:
            for other in (
                '"x"',
                "5",
                "null",
                "{}",
                '{"k":1,"k":2}',
                '{"p":1}',
                "1.5",
                "true",
                '"2026-01-01T00:00:00Z"',
            ):
                found += [f'{{"{name}":{other},{record(whole)[1:]}', f'{record(whole)[:-1]},"{name}":{other}}}']
    return found


def binaries() -> list[bytes]:
    """Bytes that are not UTF-8, and records around the size limit."""
    good = record(WHOLE_2).encode()
    bad = [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x9f\x98"]
    found = [good[:-1] + b',"other":"' + piece + b'"}' for piece in [*bad, b"\xef\xbf\xbf", b"\xf0\x9f\x98\x80"]]
    found += [piece + good for piece in bad] + bad
    room = (1 << 20) - len(good) - len(b',"other":""')
    return (
        found
        + [good[:-1] + b',"other":"' + b"x" * (room + extra) + b'"}' for extra in (-1, 0, 1)]
        + [b"\xff" * ((1 << 20) + 1)]
    )


def mixtures(count: int, seed: int) -> list[str]:
    """Random records: several odd fields, odd spacing, repeated keys, cut or mutated text."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        fields = dict(draw.choice((WHOLE_1, WHOLE_2, WHOLE_2)))
        for name in draw.sample(FIELDS, draw.choice((0, 1, 1, 2, 3))):
            fields[name] = draw.choice(VALUES) if draw.random() < 0.9 else fields.get(draw.choice(list(fields)), "1")
        items = list(fields.items())
        draw.shuffle(items)
        if draw.random() < 0.3:
            items.append((draw.choice(FIELDS), draw.choice(VALUES)))
        colon, comma = draw.choice((":", ": ", " : ", ":\n")), draw.choice((",", ", ", "\n,"))
        text = "{" + comma.join(f'"{name}"{colon}{value}' for name, value in items) + "}"
        if draw.random() < 0.15:
            at = draw.randrange(len(text))
            text = (
                text[:at]
                + draw.choice(["", "\\", '"', "{", "]", ",", "\x00", "5", "é", "\\ud800"])
                + text[at + draw.choice((0, 1, 5)) :]
            )
        found.append(text)
    return found


def corpus(mixed: int = 2000, seed: int = 7) -> list[bytes]:
    """All of it, as bytes."""
    return [text.encode() for text in (*texts(), *single_faults(), *mixtures(mixed, seed))] + binaries()
