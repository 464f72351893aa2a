# READ and WRITE include DESCRIBE. Brokers before 2.8 also want IDEMPOTENT_WRITE on the cluster from whoever writes.
# Usage: KAFKA=kafka-1.example.com:9093 sh kafka-rights.sh --command-config admin.properties
grant() {
  principal=$1 && shift
  kafka-acls.sh --bootstrap-server "$KAFKA" $config --add --allow-principal "User:$principal" "$@"
}
config="$*"
grant flowcraft-init --operation CREATE --operation DESCRIBE --topic flowcraft- --resource-pattern-type prefixed
grant flowcraft-worker --operation READ --operation WRITE --topic flowcraft-jobs
grant flowcraft-worker --operation WRITE --topic flowcraft-jobs.dlq
grant flowcraft-worker --operation READ --group flowcraft-worker-group
grant flowcraft-client --operation WRITE --topic flowcraft-jobs
grant flowcraft-client --operation WRITE --topic flowcraft-run-requests
grant flowcraft-operator --operation READ --operation WRITE --topic flowcraft- --resource-pattern-type prefixed
grant flowcraft-operator --operation READ --group flowcraft-worker-group --resource-pattern-type prefixed
