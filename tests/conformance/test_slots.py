"""The suite as it comes with the package, run on the device of `--lg-env`."""

from powercut.conformance.test_slots import *  # noqa: F403
