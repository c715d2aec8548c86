import gzip
import re
import struct

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from paramact_jax.datasets import parse_idx, read_idx, to_idx

DTYPES = ("u1", "i1", ">i2", ">i4", ">f4", ">f8")
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@given(arrays)
def test_what_is_written_is_read(array):
    read = parse_idx(to_idx(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert not read.flags.writeable


@given(arrays, st.integers(1, 400))
def test_every_other_length_is_refused(array, cut):
    data = to_idx(array)
    with pytest.raises(ValueError, match="expected"):
        parse_idx(data[: max(0, len(data) - cut)])
    with pytest.raises(ValueError, match=re.escape(f"got {len(data) + cut}")):
        parse_idx(data + bytes(cut))


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_a_value_error(data):
    try:
        array = parse_idx(data)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert to_idx(array) == data


def test_a_header_that_another_program_wrote():
    data = struct.pack(">HBBII", 0, 0x0C, 2, 1, 2) + struct.pack(">ii", -1, 70_000)
    np.testing.assert_array_equal(parse_idx(data), [[-1, 70_000]])


@pytest.mark.parametrize("data", [b"", b"\0\0\x08", b"\x1f\x8b\x08\0", b"\0\0\x0a\0", b"\x01\0\x08\0"])
def test_a_wrong_magic_number(data):
    with pytest.raises(ValueError, match=r"^the file: expected an IDX file, which begins"):
        parse_idx(data, "the file")


def test_a_type_that_idx_lacks():
    with pytest.raises(ValueError, match="got int64; convert it"):
        to_idx(np.arange(3, dtype=np.int64))


def test_gzip_is_known_by_its_contents(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for contents in (to_idx(array), gzip.compress(to_idx(array))):
        (tmp_path / "any name").write_bytes(contents)
        np.testing.assert_array_equal(read_idx(tmp_path / "any name"), array)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:3], lambda data: data[:10] + b"\xff" * 9]
)
def test_a_damaged_gzip_file(tmp_path, damage):
    path = tmp_path / "x.gz"
    path.write_bytes(damage(gzip.compress(to_idx(np.arange(99, dtype=np.uint8)))))
    with pytest.raises(ValueError, match=re.escape(f"{path}: expected a complete gzip file")):
        read_idx(path)
