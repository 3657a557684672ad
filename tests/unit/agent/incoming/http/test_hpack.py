"""Header blocks: the examples of RFC 7541, another implementation, and whatever bytes there are."""

import hpack as library
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http import hpack_huffman as huffman
from inpod.agent.incoming.http.hpack import EMPTY_TABLE, MAX_LIST, Decoder, HpackError, TooLargeError, encode

WWW = (b":authority", b"www.example.com")
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]
GET_INDEX = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html")]
DATE_21 = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
DATE_22 = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
PRIVATE = (b"cache-control", b"private")
LOCATION = (b"location", b"https://www.example.com")
COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")

REQUESTS = [
    [*GET, WWW],
    [*GET, WWW, (b"cache-control", b"no-cache")],
    [*GET_INDEX, WWW, (b"custom-key", b"custom-value")],
]
ANSWERS = [
    [(b":status", b"302"), PRIVATE, DATE_21, LOCATION],
    [(b":status", b"307"), PRIVATE, DATE_21, LOCATION],
    [(b":status", b"200"), PRIVATE, DATE_22, LOCATION, (b"content-encoding", b"gzip"), COOKIE],
]

# RFC 7541 appendix C: blocks of one connection each, the size of its table, what they say.
EXAMPLES = {
    "C.2.1": (4096, ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"], [[(b"custom-key", b"custom-header")]]),
    "C.2.2": (4096, ["040c2f73616d706c652f70617468"], [[(b":path", b"/sample/path")]]),
    "C.2.3": (4096, ["100870617373776f726406736563726574"], [[(b"password", b"secret")]]),
    "C.2.4": (4096, ["82"], [[(b":method", b"GET")]]),
    "C.3": (
        4096,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        REQUESTS,
    ),
    "C.4": (
        4096,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        REQUESTS,
    ),
    "C.5": (
        256,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
            "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b207665"
            "7273696f6e3d31",
        ],
        ANSWERS,
    ),
    "C.6": (
        256,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b"
            "97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf"
            "cd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        ANSWERS,
    ),
}

names = st.one_of(st.sampled_from([b":path", b"accept", b"cookie", b"x-a"]), st.binary(min_size=1, max_size=40))
field_lists = st.lists(
    st.tuples(names, st.one_of(st.sampled_from([b"", b"/", b"a=b"]), st.binary(max_size=300))), max_size=12
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_rfc(name: str) -> None:
    size, blocks, says = EXAMPLES[name]
    decoder = Decoder(size)
    assert [list(decoder.decode(bytes.fromhex(block)).fields) for block in blocks] == says


@given(
    st.lists(field_lists, max_size=6),
    st.booleans(),
    st.lists(st.sampled_from([0, 60, 200, 4096]), min_size=6, max_size=6),
)
def test_blocks_of_the_library_are_read(
    lists: list[list[tuple[bytes, bytes]]], huffman: bool, sizes: list[int]
) -> None:
    encoder, decoder = library.Encoder(), Decoder()
    for fields, size in zip(lists, sizes, strict=False):
        encoder.header_table_size = size
        assert list(decoder.decode(encoder.encode(fields, huffman=huffman)).fields) == fields


@given(st.lists(field_lists, max_size=4))
def test_library_reads_our_blocks(lists: list[list[tuple[bytes, bytes]]]) -> None:
    decoder = library.Decoder()
    for fields in lists:
        never = tuple(range(0, len(fields), 2))
        read = decoder.decode(encode(tuple(fields), never), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in read] == fields
        assert [place for place, field in enumerate(read) if not getattr(field, "indexable", True)] == list(never)


@pytest.mark.slow
@given(st.lists(field_lists, min_size=1, max_size=4))
def test_stateless_blocks_mean_the_same_to_another_connection(lists: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder, other = library.Encoder(), Decoder(), library.Decoder()
    other.decode(EMPTY_TABLE)
    for fields in lists:
        data = encoder.encode(fields)
        block = decoder.decode(data)
        again = data[block.start :] if block.is_stateless else encode(block.fields, block.never)
        assert [(bytes(name), bytes(value)) for name, value in other.decode(again, raw=True)] == fields


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_read_as_the_library_does_or_refused(blocks: list[bytes]) -> None:
    decoder, other = Decoder(), library.Decoder()
    for block in blocks:
        try:
            ours = list(decoder.decode(block).fields)
        except HpackError:
            return
        theirs = [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)]
        assert ours == theirs


@given(st.binary(max_size=200))
def test_huffman_is_read_as_encoded(text: bytes) -> None:
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    assert huffman.decode(encoder.encode(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",  # the end-of-string symbol
        b"\x1f\xff",  # eight bits of padding and more
        b"\x00\x00",  # padding of zeroes: "00" begins nothing that ends here
        b"\x18",  # "a" (00011), then padding 000
    ],
)
def test_huffman_with_wrong_padding_is_refused(data: bytes) -> None:
    with pytest.raises(huffman.HuffmanError):
        huffman.decode(data)


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "be",  # an entry of an empty table
        "ff8080808080808080808000",  # an integer that does not end soon
        "ffffffffff0f",  # too large an integer
        "82203f",  # a size that is not at the beginning
        "3fe21f",  # a size over the limit of 4096
        "0005",  # a name that is not there
        "000161",  # no value
        "00016105",  # a value that is not there
        "00016185ff",  # the same, encoded
        "3f",  # a size without an end
    ],
)
def test_broken_blocks_are_refused(block: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(block))


def test_small_block_that_says_much_is_refused() -> None:
    decoder = Decoder()
    large = b"\x40\x01a\x7f" + bytes([0x80 | (3900 - 127) & 0x7F, (3900 - 127) >> 7]) + b"b" * 3900
    assert len(decoder.decode(large).fields) == 1
    assert len(decoder.decode(b"\xbe" * 16).fields) == 16
    with pytest.raises(TooLargeError):
        decoder.decode(b"\xbe" * 17)


def test_limit_counts_every_field() -> None:
    most = MAX_LIST // (32 + len(b":method") + len(b"GET"))
    assert len(Decoder().decode(b"\x82" * most).fields) == most
    with pytest.raises(TooLargeError):
        Decoder().decode(b"\x82" * (most + 1))


def test_no_block_of_the_size_that_surely_fits_is_too_large() -> None:
    from inpod.agent.incoming.http import hpack
    from inpod.agent.incoming.http.hpack_static import STATIC

    largest = max(len(name) + len(value) for name, value in STATIC) + 32
    # Most of a table is made of one-byte indices; a literal adds 8/5 of its bytes at most.
    assert hpack._SURELY_FITS * largest <= MAX_LIST


def test_table_stays_within_its_size() -> None:
    decoder = Decoder()
    for number in range(1000):
        decoder.decode(b"\x40\x04%04d\x01v" % number)
    assert decoder.decode(b"\xbe\xbf").fields == ((b"0999", b"v"), (b"0998", b"v"))
    most = 4096 // (32 + 5)
    assert decoder.decode(bytes([0x80 | 0x7F, 61 + most - 127])).fields == ((b"%04d" % (1000 - most), b"v"),)
    with pytest.raises(HpackError):
        decoder.decode(bytes([0x80 | 0x7F, 61 + most + 1 - 127]))
