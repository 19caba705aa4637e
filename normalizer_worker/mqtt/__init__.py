"""The worker's MQTT connection: session, acknowledgements, receipts and canary."""
