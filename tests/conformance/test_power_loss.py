"""The suite as it comes with the package, run on the device of `--lg-env`."""

from powercut.conformance.test_power_loss import *  # noqa: F403
