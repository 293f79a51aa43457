#!/bin/sh
# What Ring knows of your devices, as JSON, with curl alone. Get a token first:
#
#   npx ring-auth login --state-file ring-auth.json
#   ./devices.sh
#
# `ring-auth token` rotates only when the access token is about to expire, so this can run every minute, from cron too, and
# beside any other program that uses the same file. In a crontab give the whole path of the file.
set -eu
state=${RING_STATE:-ring-auth.json}
api=${RING_AUTH_API_URL:-https://api.ring.com} # `ring-auth` reads the same variable.

# Not in the pipe below: there a failure would go unseen. It says itself what is wrong; exit 3 means that a login is needed.
token=$(npx ring-auth token --state-file "$state")
device=$(npx ring-auth status --json --state-file "$state" | sed -n 's/.*"hardwareId":"\([^"]*\)".*/\1/p')

# The header comes from standard input, not from an argument: those can be read by everybody on the machine.
printf 'authorization: Bearer %s\n' "$token" |
  curl --silent --show-error --fail --header @- --header "hardware_id: $device" \
    --user-agent 'android:com.ringapp:3.113.0(70497080)' "$api/clients_api/ring_devices"
