"""Results of dtypes that NumPy does not have, in datasets and their files."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import xarray as xr

from paramact_jax.sweeps import sweep


@pytest.mark.parametrize(
    ("dtype", "widened"),
    [
        (jnp.bfloat16, np.float32),
        (jnp.float8_e4m3fn, np.float32),
        (jnp.int4, np.int8),
        (jnp.uint4, np.uint8),
        (jnp.float16, np.float16),
    ],
)
def test_results_of_any_dtype_can_be_averaged_and_written(tmp_path, dtype, widened):
    def train_one(key, x):
        return {"value": jnp.asarray(x, dtype), "rows": jnp.arange(3).astype(dtype)}

    results = sweep(train_one, range(5), axes={"x": [1, 3]}, directory=tmp_path / "kept")
    assert results["value"].dtype == results["rows"].dtype == widened
    np.testing.assert_array_equal(results["value"].mean("seed"), [1, 3])
    results.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    assert xr.load_dataset(tmp_path / "x.nc", engine="h5netcdf").identical(results)
    assert sweep(train_one, range(5), axes={"x": [1, 3]}, directory=tmp_path / "kept").identical(results)


def test_widening_keeps_every_value():
    every = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e5m2)
    results = sweep(lambda key, x: x, [0], x=every)["result"].values[0]
    np.testing.assert_array_equal(results, every.astype(np.float64))


def test_labels_of_such_a_dtype_are_widened_too(tmp_path):
    labels = np.array([0.5, 1.5], ml_dtypes.bfloat16)
    results = sweep(lambda key, x: 2 * x + 0 * jax.random.normal(key), range(2), axes={"x": labels})
    assert results["x"].dtype == np.float32
    results.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    np.testing.assert_array_equal(results["result"].sel(x=1.5), [3, 3])
