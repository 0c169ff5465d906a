#!/bin/sh
# Usage: backup.sh FOLDER [days to keep]
# Copies a running deployment into FOLDER/<time>, checks it, and removes copies older than so many days (14).
# WEIGHTSLAB_BACKUP is the command that does it; by default a container of the compose stack does.
set -eu

folder=${1:?usage: backup.sh FOLDER [days to keep]}
days=${2:-14}
name=$(date -u +%Y%m%dT%H%M%SZ)
compose="docker compose --env-file .env.${ENVIRONMENT:-production}"
: "${WEIGHTSLAB_BACKUP:=$compose run --rm --no-deps --volume $folder:/backup ledger python -m weightslab_ledger.backup}"
# Where the command sees the folder.
seen=${WEIGHTSLAB_BACKUP_SEES:-/backup}

mkdir -p "$folder"
# The services run as this user; root alone may hand the folder over.
if [ "$(id -u)" = 0 ] && [ "$seen" = /backup ]; then chown 65532:65532 "$folder"; fi
# A copy under a name that is no backup yet, so that a broken one is never taken for one.
$WEIGHTSLAB_BACKUP save "$seen/$name.part"
mv "$folder/$name.part" "$folder/$name"
find "$folder" -mindepth 1 -maxdepth 1 -type d -name '????????T??????Z' -mtime "+$days" -exec rm -rf {} +
echo "$folder/$name"
