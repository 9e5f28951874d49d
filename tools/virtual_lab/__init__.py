"""A rack of QEMU boards on loopback, run by the real lab software, that can be told to misbehave.

`tools/vlab` is its command line, `client.rack` its context manager for tests.
"""
