#!/bin/sh
# Creates or upgrades Temporal's two schemas on PostgreSQL; each command does nothing where its work is done.
# The password comes in SQL_PASSWORD.
set -eu

schema() {
  database=$1
  directory=$2
  tool() { temporal-sql-tool --plugin postgres12 --ep postgresql -p 5432 -u temporal --db "$database" "$@"; }
  tool create
  tool setup-schema -v 0.0
  tool update-schema -d "/etc/temporal/schema/postgresql/v12/$directory/versioned"
}

schema temporal temporal
schema temporal_visibility visibility
