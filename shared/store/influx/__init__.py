"""The store in InfluxDB."""
