//! Latency tables: measured block latencies, calibrated on whole networks.
