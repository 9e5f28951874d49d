#!/bin/sh
# Started by the message bus when somebody asks for RAUC.
export PATH=/usr/lib/device/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/data
exec /usr/bin/rauc service
