//! Measures networks and blocks on devices and builds latency tables.
