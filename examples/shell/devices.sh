#!/bin/sh
# Prints Ring's data about your devices as JSON, with curl alone. Store a token first:
#
#   npx ring-auth login --state-file ring-auth.json
#   ./devices.sh
#
# `ring-auth token` rotates only when the access token is about to expire. So this script can run every minute, also from cron and
# beside other programs that use the same file. In a crontab, write the whole path of the file.
set -eu
state=${RING_STATE:-ring-auth.json}
api=${RING_AUTH_API_URL:-https://api.ring.com} # `ring-auth` reads the same variable.

# Not in the pipe below, which would hide a failure. The command prints what is wrong; exit code 3 means that a login is needed.
token=$(npx ring-auth token --state-file "$state")
device=$(npx ring-auth status --json --state-file "$state" | sed -n 's/.*"hardwareId":"\([^"]*\)".*/\1/p')

# The header comes from standard input, not from an argument, because all users of the machine can read arguments.
printf 'authorization: Bearer %s\n' "$token" |
  curl --silent --show-error --fail --header @- --header "hardware_id: $device" \
    --user-agent 'android:com.ringapp:3.113.0(70497080)' "$api/clients_api/ring_devices"
