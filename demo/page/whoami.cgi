#!/bin/sh
# Who runs the programs of this site? The kernel says.
printf 'Content-Type: application/json\nCache-Control: no-store\n\n'
printf '{"uid": "%s", "gid": "%s", "groups": "%s", "mode": "%s"}\n' \
    "$$(id -u)" "$$(id -g)" "$$(id -G)" "$$(stat -c %04a .)"
