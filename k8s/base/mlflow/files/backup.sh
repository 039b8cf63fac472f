# Writes the database that the PG* variables name to $BACKUP_FOLDER/mlflow.dump; MLflow may go on working meanwhile.
set -eu
dump="$BACKUP_FOLDER/mlflow.dump"
pg_dump --format=custom --no-owner --no-privileges --no-password --file="$dump.part"
# A dump without MLflow's tables is no backup: it must not look like one.
if ! pg_restore --list "$dump.part" | grep -q ' TABLE DATA public experiments '; then
  echo "backup: the database $PGDATABASE on $PGHOST has no table of experiments; is it MLflow's?" >&2
  exit 1
fi
mv "$dump.part" "$dump"
echo "backup: $(wc -c < "$dump") bytes"
