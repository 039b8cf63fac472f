# Puts $BACKUP_FOLDER/mlflow.dump into the database that the PG* variables name: all of it, or nothing.
set -eu
sql="$BACKUP_FOLDER/restore.sql"
others=$(psql --no-psqlrc --no-password --tuples-only --no-align --command="
  SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'")
if [ "$others" != 0 ]; then
  echo "restore: $others connections to $PGDATABASE are open; scale the deployment mlflow to 0 first" >&2
  exit 1
fi
# What was added since the backup goes too: a table of a newer MLflow would stop the next migration. The schema is made
# again as PostgreSQL (15 or newer) makes it, or later dumps would create it and could not be restored like this one.
cat > "$sql" <<'END'
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
COMMENT ON SCHEMA public IS 'standard public schema';
GRANT USAGE ON SCHEMA public TO PUBLIC;
END
pg_restore --no-owner --no-privileges --file=- "$BACKUP_FOLDER/mlflow.dump" >> "$sql"
psql --no-psqlrc --no-password --quiet --single-transaction --set=ON_ERROR_STOP=1 --output=/dev/null --file="$sql"
rm "$sql"
psql --no-psqlrc --no-password --tuples-only --no-align \
  --command="SELECT 'restore: ' || (SELECT count(*) FROM experiments) || ' experiments, ' || (SELECT count(*) FROM runs) || ' runs'"
