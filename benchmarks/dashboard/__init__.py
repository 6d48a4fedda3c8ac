"""The Grafana dashboard, asked and drawn without Grafana, from a real Prometheus."""
