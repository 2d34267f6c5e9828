"""Tests that whoever extends foremesh runs: `pip install 'foremesh[testing]'`."""

import pytest

pytest.register_assert_rewrite("foremesh.testing.provisioners")
