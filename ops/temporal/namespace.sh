#!/bin/sh
# Makes the namespace `default`, where closed runs stay readable for 90 days. The address comes in TEMPORAL_ADDRESS.
set -eu

tries=0
until temporal operator cluster health; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo 'the Temporal server does not answer' >&2; exit 1; }
  sleep 2
done
if temporal operator namespace describe --namespace default >/dev/null 2>&1; then
  temporal operator namespace update --namespace default --retention 90d
else
  temporal operator namespace create --namespace default --retention 90d
fi
