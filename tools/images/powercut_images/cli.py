"""The command line: which images, what they need, and the checks that come before any work."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import needs
from .bundles import make_bundles, make_certificates
from .debian import make_base
from .devices import DEVICES, Device, DualBank, UBoot
from .disk import make_disk
from .dualdisk import make_dual_disk
from .errors import BuildError
from .releases import make_keys, make_releases
from .store import Store, default_root
from .system import make_system
from .uboot import make_uboot
from .uptane import make_uptane_keys, make_uptane_system

_CLONE = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str]) -> int:
    """Builds what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/images/build", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an image (see --list), or all")
    parser.add_argument("--list", action="store_true", help="print the names of the images")
    parser.add_argument("--needs", action="store_true", help="print what a build needs")
    parser.add_argument("--output", type=Path, default=_CLONE / "build", help="where links to images go (build/)")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(DEVICES))
        return 0
    if options.needs:
        print(needs.describe())
        return 0
    unknown = [name for name in options.names if name not in (*DEVICES, "all")]
    if unknown or not options.names:
        parser.error(f"name an image ({', '.join(DEVICES)}) or all" + "".join(f", not {name}" for name in unknown))
    names = list(DEVICES) if "all" in options.names else list(dict.fromkeys(options.names))
    os.umask(0o022)
    try:
        root = default_root()
        needs.check(root)
        with Store.locked(root) as store:
            for name in names:
                for link, place in _build(store, name, DEVICES[name]).items():
                    store.link(options.output / link, place)
                    print(f"{options.output / link} -> {place}")
            for place in store.prune():
                print(f"removed {place}, unused", file=sys.stderr)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"tools/images/build: {error}\n  to do: see that POWERCUT_CACHE and --output can be written",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept", file=sys.stderr)
        return 130
    return 0


def _build(store: Store, name: str, device: Device | DualBank | UBoot) -> dict[str, Path]:
    """What was built, by the name of the link to it."""
    if isinstance(device, UBoot):
        return {name: make_uboot(store, device)}
    system, links = make_system(store, make_base(store)), {}
    if isinstance(device, DualBank):
        bundles = make_bundles(store, system, make_certificates(store), device.releases)
        return {name: make_dual_disk(store, bundles, make_keys(store), device)}
    if device.ecu is not None:
        links["uptane-keys"] = make_uptane_keys(store)
        system = make_uptane_system(store, system, links["uptane-keys"], device)
    keys = make_keys(store)
    links[name] = make_disk(store, make_releases(store, system, keys, device), keys, device)
    return links
