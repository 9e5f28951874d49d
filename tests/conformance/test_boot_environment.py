"""The suite as it comes with the package, run on the device of `--lg-env`."""

from powercut.conformance.test_boot_environment import *  # noqa: F403
