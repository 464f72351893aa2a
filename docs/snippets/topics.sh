# The topics as flowcraft-dagster init would make them with KAFKA_REPLICATION_FACTOR=3.
# Usage: KAFKA=kafka-1.example.com:9093 sh topics.sh --command-config admin.properties
for topic in flowcraft-jobs:12 flowcraft-run-requests:12 flowcraft-jobs.dlq:1; do
  kafka-topics.sh --bootstrap-server "$KAFKA" "$@" --create --if-not-exists --topic "${topic%:*}" \
    --partitions "${topic#*:}" --replication-factor 3 --config retention.ms=604800000 \
    --config cleanup.policy=delete --config min.insync.replicas=2
done
